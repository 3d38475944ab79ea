"""add_reader, add_writer, remove_reader, remove_writer: descriptors and sockets of every state."""

import asyncio
import errno
import os
import resource
import select
import socket

import pytest


def nothing(*args):
    """Accept anything."""


@pytest.fixture
def pipe():
    """Return the two ends of a pipe as descriptors; what is still open is closed at the end."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass


def run_for(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def test_a_reader_runs_when_bytes_arrive(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first, lambda: (seen.append(first.recv(10)), loop.stop()))
    loop.call_later(0.005, second.send, b"hello")
    loop.run_forever()
    assert seen == [b"hello"]


def test_a_reader_given_by_number_runs(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first.fileno(), lambda *args: (seen.append(args), loop.stop()), 1, "two")
    second.send(b"x")
    loop.run_forever()
    assert seen == [(1, "two")]


def test_the_arguments_may_be_given_by_keyword(loop, pair):
    first, _ = pair
    loop.add_reader(fd=first, callback=nothing)
    loop.add_writer(fd=first, callback=nothing)
    assert loop.remove_reader(fd=first) is True
    assert loop.remove_writer(fd=first) is True


def test_a_writer_runs_when_there_is_room(loop, pair):
    first, _ = pair
    seen = []
    loop.add_writer(first, lambda: (seen.append("room"), loop.stop()))
    loop.run_forever()
    assert "room" in seen


def test_a_writer_waits_for_room(loop, pair):
    first, second = pair
    seen = []
    while True:
        try:
            first.send(bytes(65536))
        except BlockingIOError:
            break
    loop.add_writer(first, seen.append, "room")
    run_for(loop, 0.02)
    assert seen == []
    while True:
        try:
            second.recv(1 << 20)
        except BlockingIOError:
            break
    run_for(loop, 0.02)
    assert seen


def test_a_reader_runs_again_until_everything_is_read(loop, pair):
    first, second = pair
    seen = []
    second.send(b"abc")
    loop.add_reader(first, lambda: seen.append(first.recv(1)))
    run_for(loop, 0.02)
    assert seen == [b"a", b"b", b"c"]


def test_reader_and_writer_of_one_descriptor_both_run(loop, pair):
    first, second = pair
    seen = set()
    second.send(b"x")
    loop.add_reader(first, seen.add, "read")
    loop.add_writer(first, seen.add, "write")
    run_for(loop, 0.01)
    assert seen == {"read", "write"}


def test_removing_the_writer_keeps_the_reader(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first, seen.append, "read")
    loop.add_writer(first, seen.append, "write")
    assert loop.remove_writer(first) is True
    second.send(b"x")
    run_for(loop, 0.01)
    assert set(seen) == {"read"}


def test_removing_the_reader_keeps_the_writer(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first, seen.append, "read")
    loop.add_writer(first, seen.append, "write")
    assert loop.remove_reader(first) is True
    second.send(b"x")
    run_for(loop, 0.01)
    assert set(seen) == {"write"}


def test_the_results_are_those_of_stock(same_outcome, pair):
    first, second = pair

    def action(loop):
        return [
            loop.add_reader(first, nothing),
            loop.add_reader(first.fileno(), nothing),
            loop.remove_writer(first),
            loop.add_writer(first, nothing),
            loop.remove_reader(first),
            loop.remove_reader(first),
            loop.remove_writer(first.fileno()),
            loop.remove_writer(first.fileno()),
            loop.remove_reader(second),
        ]

    assert same_outcome(action) == [None, None, False, None, True, False, True, False, False]


def test_the_private_methods_return_what_stocks_return(same_outcome, pair):
    first, _ = pair

    def action(loop):
        handle = loop._add_reader(first.fileno(), nothing, 1)
        writer = loop._add_writer(first.fileno(), nothing)
        types = isinstance(handle, asyncio.Handle), isinstance(writer, asyncio.Handle)
        return types, handle._args, loop._remove_reader(first), loop._remove_writer(first)

    assert same_outcome(action) == ((True, True), (1,), True, True)


def test_a_replaced_reader_is_cancelled(loop, pair):
    first, _ = pair
    old = loop._add_reader(first.fileno(), nothing)
    new = loop._add_reader(first.fileno(), nothing)
    assert old.cancelled() and not new.cancelled()
    loop.remove_reader(first)
    assert new.cancelled()


def test_a_replaced_writer_is_cancelled(loop, pair):
    first, _ = pair
    old = loop._add_writer(first.fileno(), nothing)
    new = loop._add_writer(first.fileno(), nothing)
    assert old.cancelled() and not new.cancelled()
    loop.remove_writer(first)
    assert new.cancelled()


def test_only_the_last_reader_runs(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first, seen.append, "old")
    loop.add_reader(first, lambda: (seen.append("new"), first.recv(1)))
    second.send(b"x")
    run_for(loop, 0.01)
    assert seen == ["new"]


def test_a_reader_runs_in_the_context_of_add_reader(loop, pair):
    import contextvars

    var = contextvars.ContextVar("var", default="unset")
    first, second = pair
    seen = []
    token = var.set("at add_reader")
    loop.add_reader(first, lambda: (seen.append(var.get()), first.recv(1)))
    var.reset(token)
    second.send(b"x")
    run_for(loop, 0.01)
    assert seen == ["at add_reader"]


def test_the_reader_runs_when_the_peer_hangs_up(loop, pair):
    first, second = pair
    loop.add_reader(first, loop.stop)
    second.close()
    loop.run_forever()
    assert first.recv(1) == b""


def test_the_reader_of_a_pipe_runs_when_the_writer_closes(loop, pipe):
    read_end, write_end = pipe
    loop.add_reader(read_end, loop.stop)
    os.close(write_end)
    loop.run_forever()
    assert os.read(read_end, 1) == b""


def test_the_writer_of_a_pipe_runs_when_the_reader_closes(loop, pipe):
    read_end, write_end = pipe
    os.set_blocking(write_end, False)
    while True:
        try:
            os.write(write_end, bytes(65536))
        except BlockingIOError:
            break
    loop.add_writer(write_end, loop.stop)
    os.close(read_end)
    loop.run_forever()
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"x")


def test_a_writer_only_registration_sees_the_reset(loop):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    with client, peer:
        client.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        loop.add_writer(client, loop.stop)
        loop.run_forever()
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


def test_urgent_data_wakes_the_reader_no_more_than_on_stock(same_outcome):
    def action(loop):
        seen = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
        with client, peer:
            client.setblocking(False)
            loop.add_reader(client, seen.append, "ready")
            peer.send(b"!", socket.MSG_OOB)
            run_for(loop, 0.02)
            loop.remove_reader(client)
        return bool(seen)

    same_outcome(action)


def test_a_reader_removed_by_another_of_the_same_turn_does_not_run(loop):
    pairs = [socket.socketpair() for _ in range(2)]
    seen = []

    def read(index):
        seen.append(index)
        loop.remove_reader(pairs[1 - index][0])
        loop.remove_reader(pairs[index][0])

    for index, (first, second) in enumerate(pairs):
        loop.add_reader(first, read, index)
        second.send(b"x")
    run_for(loop, 0.02)
    for first, second in pairs:
        first.close()
        second.close()
    assert len(seen) == 1


def test_a_socket_closed_and_removed_in_its_own_callback_is_gone(loop, pair):
    first, second = pair
    seen = []

    def read():
        seen.append(first.recv(1))
        loop.remove_reader(first)
        first.close()

    loop.add_reader(first, read)
    second.send(b"xyz")
    run_for(loop, 0.02)
    assert seen == [b"x"]


def test_a_reader_may_replace_itself(loop, pair):
    first, second = pair
    seen = []

    def one():
        seen.append(("one", first.recv(1)))
        loop.add_reader(first, two)

    def two():
        seen.append(("two", first.recv(1)))

    loop.add_reader(first, one)
    second.send(b"ab")
    run_for(loop, 0.02)
    assert seen == [("one", b"a"), ("two", b"b")]


def test_a_thousand_descriptors_are_served(loop):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    pairs = [socket.socketpair() for _ in range(1000)]
    seen = []

    def read(index, sock):
        seen.append(index)
        sock.recv(1)
        if len(seen) == len(pairs):
            loop.stop()

    for index, (first, second) in enumerate(pairs):
        loop.add_reader(first, read, index, first)
        second.send(b"x")
    loop.run_forever()
    for first, second in pairs:
        assert loop.remove_reader(first) is True
        first.close()
        second.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(seen) == list(range(1000))


def test_a_poller_nested_in_the_loop_is_a_descriptor_too(loop, pair):
    first, second = pair
    seen = []
    with select.epoll() as poller:
        poller.register(first, select.EPOLLIN)
        loop.add_reader(poller, lambda: (seen.append(poller.poll(0)), first.recv(1), loop.stop()))
        second.send(b"x")
        loop.run_forever()
        loop.remove_reader(poller)
    assert seen == [[(first.fileno(), select.EPOLLIN)]]


def test_another_loops_socket_may_be_watched_by_both(new_loop, pair):
    first, second = pair
    loops, seen = [new_loop(), new_loop()], []
    for n, loop in enumerate(loops):
        loop.add_reader(first, lambda n=n, loop=loop: (seen.append(n), loop.stop()))
    second.send(b"x")
    for loop in loops:
        loop.run_forever()
        loop.remove_reader(first)
    assert seen == [0, 1]


def test_a_reader_keeps_its_context_from_one_event_to_the_next(loop, pair):
    import contextvars

    var = contextvars.ContextVar("var", default=0)
    first, second = pair
    seen = []

    def read():
        first.recv(1)
        seen.append(var.get())
        var.set(var.get() + 1)

    loop.add_reader(first, read)
    second.send(b"abc")
    run_for(loop, 0.01)
    assert seen == [0, 1, 2] and var.get() == 0
