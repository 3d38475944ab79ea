"""Echo servers that do to their connections what comes into their heads; ``stress.py`` has them.

    python -P benchmarks/cells.py moods MODULE:FACTORY KIND PLACE SEED

A connection gets every byte back: the server pauses, sleeps and cancels its own reads, and ends
nothing. One whose first byte is MOODY may also be closed, aborted, half closed or have its task
cancelled at any moment. Kinds are those of ``stress.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from pathlib import Path

from benchmarks import peers

CELL = [str(Path(__file__).with_name("cells.py"))]
MOODY = b"m"
REST_S = 0.02  # at most
TASK_S = 0.5  # after which a task is cancelled, at most
RESTS, ENDS = 0.1, 0.06  # how likely after each piece
SIZES = (1, 100, 4096, 65536)
PATIENCE_S = (0.0002, 0.005, 1)  # of a read, before it is cancelled and done again


class Echo(peers.Echo):
    """Send back what comes, but for the moods."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.sober: bool | None = None
        self.half_closed = False
        self.reasons: set[str] = set()  # for which nothing is read

    def data_received(self, data):
        if self.sober is None:
            self.sober = data[:1] != MOODY
            if self.rng.random() < 0.5:
                self.transport.set_protocol(Buffered(self))
        if self.half_closed:
            return
        self.transport.write(data)
        mood = self.rng.random()
        if mood < RESTS:
            self.hold("rest")
            rest_s = self.rng.random() * REST_S
            asyncio.get_running_loop().call_later(rest_s, self.go_on, "rest")
        elif not self.sober and mood < RESTS + ENDS:
            self.end()

    def half_close(self):
        """Send no more, if the peer has not reset the connection meanwhile."""
        self.half_closed = True
        with contextlib.suppress(OSError):
            self.transport.write_eof()

    def end(self):
        """End the connection, now or soon."""
        loop = asyncio.get_running_loop()
        how = self.rng.choice((self.transport.close, self.transport.abort, self.half_close))
        if self.rng.random() < 0.5:
            how()
        elif self.rng.random() < 0.5:
            loop.call_soon(how)
        else:
            loop.call_later(self.rng.random() * REST_S, how)

    def hold(self, reason):
        """Read nothing for a reason."""
        self.reasons.add(reason)
        self.transport.pause_reading()

    def go_on(self, reason):
        """Read again, unless there is another reason not to."""
        self.reasons.discard(reason)
        if not self.reasons:
            self.transport.resume_reading()

    def pause_writing(self):
        self.hold("peer")

    def resume_writing(self):
        self.go_on("peer")


class Buffered(asyncio.BufferedProtocol):
    """The same for bytes that come into buffers, of any size."""

    def __init__(self, echo: Echo):
        self.echo = echo
        self.pause_writing, self.resume_writing = echo.pause_writing, echo.resume_writing

    def get_buffer(self, sizehint):
        self.buffer = bytearray(self.echo.rng.choice(SIZES))
        return self.buffer

    def buffer_updated(self, nbytes):
        self.echo.data_received(bytes(self.buffer[:nbytes]))


async def impatiently(rng, read):
    """Read; now and then the read is cancelled and begun again."""
    while True:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(read(rng.choice(SIZES)), rng.choice(PATIENCE_S))


def doom(rng):
    """Have the task cancelled at some time, unless it has ended before."""
    asyncio.get_running_loop().call_later(rng.random() * TASK_S, asyncio.current_task().cancel)


async def echo_streams(rng, reader, writer):
    """Send back what comes, with streams."""
    # 3.11 and early 3.12 do not close the connection of a handler that was cancelled.
    with contextlib.suppress(OSError, asyncio.CancelledError):
        data = await reader.read(1)
        sober = data != MOODY
        if not sober:
            doom(rng)
        while data:
            writer.write(data)
            await writer.drain()
            mood = rng.random()
            if mood < RESTS:
                await asyncio.sleep(rng.random() * REST_S)
            elif not sober and mood < RESTS + ENDS:
                rng.choice((writer.close, writer.transport.abort, writer.write_eof))()
                break
            data = await impatiently(rng, reader.read)
    await peers.end(writer)


async def echo_sock(rng, loop, listener):
    """Send back what comes, with the loop's socket methods."""

    async def talk(conn):
        with conn, contextlib.suppress(ConnectionError):
            data = await loop.sock_recv(conn, 1)
            sober = data != MOODY
            if not sober:
                doom(rng)
            while data:
                await loop.sock_sendall(conn, data)
                mood = rng.random()
                if mood < RESTS:
                    await asyncio.sleep(rng.random() * REST_S)
                elif not sober and mood < RESTS + ENDS:
                    break
                data = await loop.sock_recv(conn, rng.choice(SIZES))

    tasks = set()
    while True:
        conn, _ = await loop.sock_accept(listener)
        task = loop.create_task(talk(conn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def start_server(rng, loop, kind, sock, _size):
    """Start to serve; return what has to be kept."""
    if kind == "careful":
        return await loop.create_server(lambda: Echo(rng), sock=sock, backlog=peers.BACKLOG)
    if kind == "streams":
        handler = functools.partial(echo_streams, rng)
        return await asyncio.start_server(handler, sock=sock, backlog=peers.BACKLOG)
    return loop.create_task(echo_sock(rng, loop, sock))


def serve(loop_spec, kind, place, seed):
    """Be such a server."""
    start = functools.partial(start_server, random.Random(int(seed)))
    peers.serve(loop_spec, kind, place, "0", start)
