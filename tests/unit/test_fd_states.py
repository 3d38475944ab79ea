"""Descriptors in bad states: junk, regular files, closed, reused, duplicated."""

import fcntl
import os
import resource
import socket
import time
import weakref

import pytest


def nothing(*args):
    """Accept anything."""


def run_for(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


JUNK = {
    "None": None,
    "str": "x",
    "float": 1.5,
    "object": object(),
    "list": [],
    "-1": -1,
    "-5": -5,
    "2**31": 2**31,
    "2**63": 2**63,
    "2**100": 2**100,
    "-2**100": -(2**100),
}
METHODS = {
    "add_reader": lambda loop, fd: loop.add_reader(fd, nothing),
    "add_writer": lambda loop, fd: loop.add_writer(fd, nothing),
    "remove_reader": lambda loop, fd: loop.remove_reader(fd),
    "remove_writer": lambda loop, fd: loop.remove_writer(fd),
}


@pytest.fixture(params=METHODS)
def method(request):
    """Return each of the four public methods, as a function of loop and fd."""
    return METHODS[request.param]


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_a_junk_descriptor_does_what_stocks_does(same_outcome, method, junk):
    same_outcome(lambda loop: method(loop, junk))


@pytest.mark.parametrize("fileno", [None, "x", -1, 1.5, 2**40, LookupError("mine")], ids=repr)
def test_an_object_with_a_junk_fileno_does_what_stocks_does(same_outcome, method, fileno):
    class Thing:
        def fileno(self):
            if isinstance(fileno, Exception):
                raise fileno
            return fileno

        def __repr__(self):
            return "<thing>"

    thing = Thing()
    same_outcome(lambda loop: method(loop, thing))


def test_a_closed_descriptor_does_what_stocks_does(same_outcome, method):
    # A high number: the loops open descriptors of their own, which take the lowest.
    fd = fcntl.fcntl(0, fcntl.F_DUPFD, 600)
    os.close(fd)
    same_outcome(lambda loop: method(loop, fd))


def test_a_closed_socket_does_what_stocks_does(same_outcome, method):
    sock = socket.socket()
    sock.close()
    same_outcome(lambda loop: method(loop, sock))


def test_a_regular_file_is_refused_as_by_stock(same_error, tmp_path):
    with open(tmp_path / "file", "w") as file:
        assert same_error(lambda loop: loop.add_reader(file, nothing)) is PermissionError
        assert same_error(lambda loop: loop.add_writer(file, nothing)) is PermissionError


def test_after_a_refused_file_the_loop_works(loop, pair, tmp_path):
    first, _ = pair
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, nothing)
        assert loop.remove_reader(file) is False
    loop.add_writer(first, loop.stop)
    loop.run_forever()


def test_a_huge_descriptor_is_refused_without_taking_memory(same_error):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert same_error(lambda loop: loop.add_reader(2**30, nothing)) is OSError
    assert same_error(lambda loop: loop.add_reader(2**31 - 1, nothing)) is OSError
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_socket_closed_while_registered_can_be_removed_as_by_stock(same_outcome):
    def action(loop):
        first, second = socket.socketpair()
        with second:
            loop.add_reader(first, nothing)
            first.close()
            return loop.remove_reader(first)

    assert same_outcome(action) is True


def test_a_closed_socket_removed_a_second_time_does_what_stocks_does(same_outcome):
    def action(loop):
        first, second = socket.socketpair()
        with second:
            loop.add_reader(first, nothing)
            first.close()
            loop.remove_reader(first)
            loop.remove_reader(first)

    same_outcome(action)


@pytest.mark.ours("stock fails with EBADF and keeps the reader")
def test_reader_and_writer_of_a_closed_socket_can_both_be_removed(loop):
    first, second = socket.socketpair()
    with second:
        loop.add_reader(first, nothing)
        loop.add_writer(first, nothing)
        first.close()
        assert loop.remove_reader(first) is True
        assert loop.remove_writer(first) is True


def test_a_number_closed_while_registered_can_be_removed(loop):
    first, second = socket.socketpair()
    with second:
        fd = first.fileno()
        loop.add_reader(fd, nothing)
        first.close()
        assert loop.remove_reader(fd) is True
        assert loop.remove_reader(fd) is False


def test_a_file_object_given_is_the_same_as_its_number(loop, pair):
    first, _ = pair
    loop.add_reader(first, nothing)
    assert loop.remove_reader(first.fileno()) is True
    loop.add_reader(first.fileno(), nothing)
    assert loop.remove_reader(first) is True


@pytest.mark.ours("stock never polls a number again that was closed while it was registered")
def test_a_number_reused_after_a_close_is_polled(loop):
    first, second = socket.socketpair()
    third, fourth = socket.socketpair()
    seen = []
    with second, third, fourth:
        fd = first.fileno()
        loop.add_reader(fd, seen.append, "old")
        run_for(loop, 0.001)
        first.close()
        os.dup2(third.fileno(), fd)
        loop.add_reader(fd, seen.append, "new")
        fourth.send(b"x")
        run_for(loop, 0.02)
        loop.remove_reader(fd)
        os.close(fd)
    assert "new" in seen and "old" not in seen


@pytest.mark.ours("stock never polls a number again that was closed while it was registered")
def test_a_number_reused_for_writing_is_polled(loop):
    first, second = socket.socketpair()
    third, fourth = socket.socketpair()
    with second, third, fourth:
        fd = first.fileno()
        loop.add_reader(fd, nothing)
        run_for(loop, 0.001)
        first.close()
        os.dup2(third.fileno(), fd)
        loop.add_writer(fd, loop.stop)
        loop.call_later(5, lambda: pytest.fail("not polled"))
        loop.run_forever()
        loop.remove_writer(fd)
        loop.remove_reader(fd)
        os.close(fd)


def test_a_number_removed_closed_and_reused_is_polled(loop):
    for _ in range(20):
        first, second = socket.socketpair()
        with first, second:
            loop.add_reader(first, loop.stop)
            second.send(b"x")
            loop.run_forever()
            assert loop.remove_reader(first) is True


@pytest.mark.ours("stock spins on the events of a registration that it cannot remove")
def test_a_duplicated_and_closed_descriptor_does_not_spin(loop):
    first, second = socket.socketpair()
    with second:
        second.send(b"never read")
        loop.add_reader(first, nothing)
        run_for(loop, 0.001)
        copy = first.dup()
        with copy:
            fd = first.fileno()
            first.close()
            loop.remove_reader(fd)
            before = time.process_time()
            run_for(loop, 0.4)
            assert time.process_time() - before < 0.15


@pytest.mark.ours("stock takes the old file's event for one of the new file")
def test_an_event_of_the_old_file_of_a_number_does_not_reach_the_new_reader(loop):
    first, second = socket.socketpair()
    third, fourth = socket.socketpair()
    seen = []
    with second, third, fourth, first.dup():
        fd = first.fileno()
        loop.add_reader(fd, seen.append, "old")
        run_for(loop, 0.001)
        first.close()
        os.dup2(third.fileno(), fd)
        loop.remove_reader(fd)
        loop.add_reader(fd, seen.append, "new")
        second.send(b"for the old file")
        before = time.process_time()
        run_for(loop, 0.3)
        assert seen == [] and time.process_time() - before < 0.15
        fourth.send(b"for the new file")
        run_for(loop, 0.01)
        assert set(seen) == {"new"}
        loop.remove_reader(fd)
        os.close(fd)


def test_a_descriptor_and_its_duplicate_are_watched_apart(loop, pair):
    first, second = pair
    seen = []
    with first.dup() as copy:
        loop.add_reader(first, seen.append, "first")
        loop.add_reader(copy, seen.append, "copy")
        second.send(b"x")
        run_for(loop, 0.01)
        assert set(seen) == {"first", "copy"}
        loop.remove_reader(first)
        seen.clear()
        run_for(loop, 0.01)
        assert set(seen) == {"copy"}
        loop.remove_reader(copy)


def test_a_reader_whose_handle_was_cancelled_is_removed_at_the_next_event(loop, pair):
    first, second = pair
    handle = loop._add_reader(first.fileno(), nothing)
    handle.cancel()
    second.send(b"x")
    run_for(loop, 0.01)
    assert loop.remove_reader(first) is False


def test_a_reader_whose_handle_was_cancelled_releases_its_file(loop, pair, collect):
    first, second = pair
    file = os.fdopen(os.dup(first.fileno()), "rb", buffering=0)
    alive = weakref.ref(file)
    loop._add_reader(file, nothing).cancel()
    second.send(b"x")
    run_for(loop, 0.01)
    del file
    collect()
    assert alive() is None
