"""Which descriptors belong to transports: the loop's own table, and one that users put there."""

import asyncio
import socket
import weakref

import pytest


class Fake:
    """A transport that stands in a table."""

    def __init__(self, closing=False):
        self.closing = closing

    def __repr__(self):
        return "<Fake>"

    def is_closing(self):
        return self.closing


async def read_waiting(loop, sock):
    """Receive with sock_recv(), which has to wait; what it returns or raises."""
    task = loop.create_task(loop.sock_recv(sock, 10))
    await asyncio.sleep(0)
    if not task.done():
        peer_of[sock].send(b"x")
    return await asyncio.wait_for(task, 30)


def receive(loop, sock):
    """Receive; whether what was sent came."""
    return loop.run_until_complete(read_waiting(loop, sock)) == b"x"


def watch(loop, sock):
    """Watch with add_reader() and stop; whether it was watched."""
    loop.add_reader(sock, print)
    return loop.remove_reader(sock)


peer_of = weakref.WeakKeyDictionary()
USES = {"sock_recv": receive, "add_reader": watch}


@pytest.fixture(params=USES.values(), ids=USES)
def use(request):
    """Return each of the ways to have a descriptor watched."""
    return request.param


@pytest.fixture
def sock(pair):
    """Return a socket with nothing to be read."""
    peer_of[pair[0]] = pair[1]
    return pair[0]


class NoItems:
    """A table that knows nothing, by any way of asking."""

    def __getitem__(self, fd):
        raise KeyError(fd)

    def get(self, fd, default=None):
        return default


TABLES = {
    "an empty dict": lambda fd: {},
    "a dict with it": lambda fd: {fd: Fake()},
    "a dict with it, closing": lambda fd: {fd: Fake(closing=True)},
    "a dict with another": lambda fd: {fd + 1: Fake()},
    "a weak one, empty": lambda fd: weakref.WeakValueDictionary(),
    "an object that finds nothing": lambda fd: NoItems(),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_table_that_was_replaced_is_asked(same_outcome, use, sock, make):
    def action(loop):
        loop._transports = make(sock.fileno())
        return use(loop, sock)

    same_outcome(action)


@pytest.mark.parametrize("closing", [False, True])
def test_a_transport_put_into_the_loops_own_table_counts(same_outcome, use, sock, closing):
    def action(loop):
        transport = loop._transports[sock.fileno()] = Fake(closing)
        result = use(loop, sock)
        del transport
        return result

    same_outcome(action)


def test_a_transport_that_has_left_the_table_does_not_count(same_outcome, use, sock):
    def action(loop):
        loop._transports[sock.fileno()] = Fake()
        return use(loop, sock)

    same_outcome(action)


def test_a_table_of_a_derived_class_is_asked(backend, make_loop, loop_class, use, sock):
    class Derived(loop_class):
        _transports = property(lambda self: {sock.fileno(): Fake()}, lambda self, table: None)

    with pytest.raises(RuntimeError, match="is used by transport <Fake>"):
        use(make_loop(Derived), sock)


def test_a_table_that_a_class_gets_later_is_asked(make_loop, loop_class, use, sock):
    class Derived(loop_class):
        pass

    loop = make_loop(Derived)
    assert use(loop, sock) is True
    Derived._transports = property(lambda self: {sock.fileno(): Fake()})
    with pytest.raises(RuntimeError, match="is used by transport <Fake>"):
        use(loop, sock)


def test_the_old_table_serves_again_when_it_is_put_back(loop, use, sock):
    own = loop._transports
    loop._transports = {sock.fileno(): Fake()}
    with pytest.raises(RuntimeError, match="is used by transport <Fake>"):
        use(loop, sock)
    loop._transports = own
    assert use(loop, sock) is True


def test_another_dict_that_the_loops_own_table_keeps_its_items_in_is_asked(same_outcome, use, sock):
    def action(loop):
        transport = Fake()
        loop._transports.data = weakref.WeakValueDictionary({sock.fileno(): transport}).data
        return use(loop, sock)

    same_outcome(action)


def test_a_loop_without_a_table_says_so(loop, use, sock):
    del loop._transports
    with pytest.raises(AttributeError, match="_transports"):
        use(loop, sock)


def test_a_call_that_waits_for_a_transports_descriptor_is_refused(loop, sock):
    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        # The transport's own object is hidden behind another of that number.
        double = socket.socket(fileno=sock.fileno())
        try:
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_recv(double, 10)
        finally:
            double.detach()
            transport.abort()
            await asyncio.sleep(0)

    loop.run_until_complete(main())
