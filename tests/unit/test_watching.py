"""What transports and their neighbours see of the loop's readers and writers."""

import asyncio
import gc
import re
import selectors
import socket
import weakref

import pytest


def nothing(*args):
    """Accept anything."""


async def transport_of(loop, sock):
    """Return a started transport of the socket."""
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    await asyncio.sleep(0)
    return transport


FORBIDDEN = {
    "add_reader": lambda loop, fd: loop.add_reader(fd, nothing),
    "add_writer": lambda loop, fd: loop.add_writer(fd, nothing),
    "remove_reader": lambda loop, fd: loop.remove_reader(fd),
    "remove_writer": lambda loop, fd: loop.remove_writer(fd),
}


@pytest.mark.parametrize("method", FORBIDDEN)
@pytest.mark.parametrize("by", ["number", "object"])
def test_a_descriptor_of_a_transport_is_refused_in_stocks_words(same_outcome, method, by):
    def action(loop):
        async def main():
            first, second = socket.socketpair()
            first.setblocking(False)
            with second:
                transport = await transport_of(loop, first)
                target = first.fileno() if by == "number" else first
                try:
                    FORBIDDEN[method](loop, target)
                except RuntimeError as error:
                    return re.sub(r"(fd=|descriptor |at 0x|object fd)[0-9a-f]+", r"\1", str(error))
                finally:
                    transport.abort()
                    await asyncio.sleep(0)

        text = loop.run_until_complete(main())
        text = text and re.sub(r"<\w*SocketTransport", "<transport", text)
        return text and re.sub(r"<socket.*?>", "<socket>", text)

    assert "is used by transport" in same_outcome(action)


def test_a_descriptor_of_a_closed_transport_is_free_again(loop, pair):
    first, second = pair

    async def main():
        transport = await transport_of(loop, first.dup())
        fd = transport.get_extra_info("socket").fileno()
        transport.abort()
        await asyncio.sleep(0.001)
        return loop.remove_reader(fd)

    assert loop.run_until_complete(main()) is False


def test_the_repr_of_a_transport_tells_what_it_waits_for(loop, pair):
    first, second = pair
    texts = []

    async def main():
        transport = await transport_of(loop, first)
        texts.append(repr(transport))
        transport.pause_reading()
        texts.append(repr(transport))
        while not transport.get_write_buffer_size():
            transport.write(bytes(1 << 20))
        texts.append(repr(transport))
        transport.abort()
        await asyncio.sleep(0)
        texts.append(repr(transport))

    loop.run_until_complete(main())
    assert "read=polling" in texts[0] and "write=<idle" in texts[0]
    assert "read=idle" in texts[1]
    assert "write=<polling" in texts[2]
    assert "closed" in texts[3]


def test_the_selector_shows_what_is_watched(loop, pair):
    first, _ = pair
    fd = first.fileno()
    loop.add_reader(fd, nothing)
    assert loop._selector.get_key(fd).events == selectors.EVENT_READ
    loop.add_writer(fd, nothing)
    assert loop._selector.get_key(fd).events == selectors.EVENT_READ | selectors.EVENT_WRITE
    loop.remove_reader(fd)
    key = loop._selector.get_key(fd)
    assert key.events == selectors.EVENT_WRITE and key.fd == fd
    loop.remove_writer(fd)
    with pytest.raises(KeyError):
        loop._selector.get_key(fd)


def test_the_selector_shows_the_handles(loop, pair):
    first, _ = pair
    reader = loop._add_reader(first.fileno(), nothing)
    assert loop._selector.get_key(first.fileno()).data == (reader, None)
    writer = loop._add_writer(first.fileno(), nothing)
    assert loop._selector.get_key(first.fileno()).data == (reader, writer)


def test_the_selectors_map_lists_what_is_watched(loop, pair):
    first, second = pair
    loop.add_reader(first, nothing)
    loop.add_writer(second, nothing)
    assert {first.fileno(), second.fileno()} <= set(loop._selector.get_map())
    loop.remove_reader(first)
    assert first.fileno() not in loop._selector.get_map()


def test_the_selector_is_gone_after_close(loop):
    loop.close()
    assert loop._selector is None


def test_reading_streams_and_readers_work_side_by_side(loop, pair):
    first, second = pair
    other, peer = socket.socketpair()
    seen = []

    async def main():
        reader, writer = await asyncio.open_connection(sock=first)
        other.setblocking(False)
        loop.add_reader(other, lambda: seen.append(other.recv(10)))
        peer.send(b"raw")
        second.send(b"line\n")
        line = await reader.readline()
        await asyncio.sleep(0.005)
        loop.remove_reader(other)
        writer.close()
        await writer.wait_closed()
        return line

    with other, peer:
        assert loop.run_until_complete(main()) == b"line\n"
    assert seen == [b"raw"]


def test_sock_methods_work_beside_readers(loop, pair):
    first, second = pair

    async def main():
        receiving = asyncio.ensure_future(loop.sock_recv(first, 10))
        await asyncio.sleep(0)
        await loop.sock_sendall(second, b"data")
        return await receiving

    assert loop.run_until_complete(main()) == b"data"
    assert loop.remove_reader(first) is False


def test_a_cancelled_sock_recv_leaves_no_reader(loop, pair):
    first, second = pair

    async def main():
        receiving = asyncio.ensure_future(loop.sock_recv(first, 10))
        await asyncio.sleep(0.001)
        receiving.cancel()
        await asyncio.sleep(0)
        return loop.remove_reader(first)

    assert loop.run_until_complete(main()) is False


def test_a_cancelled_connect_does_not_poison_its_number(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            fillers = []
            for _ in range(5):
                sock = socket.socket()
                sock.setblocking(False)
                fillers.append(sock)
                connecting = asyncio.ensure_future(loop.sock_connect(sock, server.getsockname()))
                await asyncio.sleep(0.005)
                if not connecting.done():
                    break
            assert not connecting.done()
            number = sock.fileno()
            connecting.cancel()
            sock.close()
            await asyncio.sleep(0)
            first, second = socket.socketpair()
            first.setblocking(False)
            with first, second:
                assert first.fileno() == number
                second.send(b"fresh")
                data = await asyncio.wait_for(loop.sock_recv(first, 10), 5)
            for filler in fillers:
                filler.close()
            return data

    assert loop.run_until_complete(main()) == b"fresh"


def test_dropping_a_reader_releases_its_callback(loop, pair):
    class Thing:
        pass

    first, _ = pair
    thing = Thing()
    alive = weakref.ref(thing)
    loop.add_reader(first, nothing, thing)
    del thing
    gc.collect()
    assert alive() is not None
    loop.remove_reader(first)
    gc.collect()
    assert alive() is None


def test_closing_the_loop_releases_its_readers(loop, pair):
    class Thing:
        pass

    first, _ = pair
    thing = Thing()
    alive = weakref.ref(thing)
    loop.add_reader(first, nothing, thing)
    del thing
    loop.close()
    gc.collect()
    assert alive() is None


def test_closing_the_loop_leaves_watched_sockets_open(loop, pair):
    first, second = pair
    loop.add_reader(first, nothing)
    loop.add_writer(second, nothing)
    loop.close()
    second.send(b"open")
    assert first.recv(10) == b"open"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_transport_outliving_its_loop_does_not_crash(new_loop, pair):
    first, _ = pair
    loop = new_loop()
    transport = loop.run_until_complete(transport_of(loop, first))
    loop.close()
    assert repr(transport)
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        transport.abort()
    transport.close()
    transport.pause_reading()
