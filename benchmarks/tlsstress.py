#!/usr/bin/env python3
"""Treat TLS connections badly, and look whether they lose anything or keep anything.

    python benchmarks/tlsstress.py                             casyncio, everything: many minutes
    python benchmarks/tlsstress.py --only transfer --scale 0.1
    python benchmarks/tlsstress.py --only idle --loops asyncio,uvloop,casyncio

A server on streams runs in a process of its own, its clients in this one, both on the loop that is
asked for. Needs trustme, for the certificate.

    in_sequence   100,000 connections one after another, ten clients at a time
    transfer      200 MB up and 200 MB down, by hash, under random pauses, cancels and resets
    idle          1,000 connections that do nothing: bytes of the server's memory for each
    trickle       peers that send their records byte by byte: CPU of the server

After each the server must have as many open descriptors as before. Exit status 1 when something
does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import hashlib
import importlib
import json
import os
import random
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
PAGE = resource.getpagesize()
BLOCK = random.Random(1).randbytes(MIB + 4093)  # what transfers repeat; no power of two
PATIENCE_S = float(os.environ.get("STRESS_PATIENCE_S", "60"))
FLAT_BYTES, FLAT_SHARE = 2 * MIB, 0.05
KNOWN = {
    "casyncio": "casyncio:new_event_loop",
    "asyncio": "asyncio:new_event_loop",
    "uvloop": "uvloop:new_event_loop",
}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


class Wrong(Exception):
    """Something happened that must not happen."""


def require(holds: bool, what: str) -> None:
    """Raise Wrong unless it holds."""
    if not holds:
        raise Wrong(what)


def factory(spec: str):
    """Return what makes loops, for name=module:attribute or a known name."""
    module, _, attribute = KNOWN.get(spec, spec.partition("=")[2]).partition(":")
    return getattr(importlib.import_module(module), attribute)


def pattern(start: int, nbytes: int) -> bytes:
    """Return a part of the endless data that is transferred."""
    start %= len(BLOCK)
    return (BLOCK[start:] + BLOCK * (nbytes // len(BLOCK) + 1))[:nbytes]


# ---- the server ------------------------------------------------------------------------------


class Server:
    """Serves what the first line of a connection asks for."""

    def __init__(self):
        self.stored = bytearray()
        self.digest = hashlib.sha256()
        self.received = 0

    async def handle(self, reader, writer):
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            words = (await reader.readline()).split()
            if words:
                await getattr(self, words[0].decode())(reader, writer, *map(int, words[1:]))
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await writer.wait_closed()

    async def echo(self, reader, writer):
        """Send everything back."""
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def up(self, reader, writer):
        """Tell how much has come so far, and take more."""
        writer.write(b"%d\n" % self.received)
        while data := await reader.read(65536):
            self.digest.update(data)
            self.received += len(data)
        writer.write(b"%d %s\n" % (self.received, self.digest.hexdigest().encode()))

    async def begin(self, reader, writer):
        """Forget what has come so far."""
        self.digest, self.received = hashlib.sha256(), 0
        writer.write(b"ok\n")

    async def told(self, reader, writer):
        """Tell what has come so far."""
        writer.write(b"%d %s\n" % (self.received, self.digest.hexdigest().encode()))

    async def down(self, reader, writer, start, end):
        """Send a part of the data."""
        while start < end:
            data = pattern(start, min(65536, end - start))
            writer.write(data)
            await writer.drain()
            start += len(data)


async def serve(certificate: str) -> None:
    """Serve for ever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def tidy():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tidy)
    server = await asyncio.start_server(
        Server().handle, "127.0.0.1", 0, ssl=context, backlog=1000, ssl_handshake_timeout=PATIENCE_S
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Target:
    """The server under stress, and what it uses."""

    def __init__(self, spec: str, certificate: str, log):
        words = [sys.executable, "-P", __file__, "--serve", spec, "--certificate", certificate]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        self.pid = self.process.pid
        line = self.process.stdout.readline()
        require(bool(line), "the server did not start")
        self.address = ("127.0.0.1", int(line))
        self.context = ssl.create_default_context(cafile=certificate)
        self.before = 0  # open descriptors without connections; known after the first

    def descriptors(self) -> int:
        """Return the number of open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """Return the resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    def resident_clean(self) -> int:
        """Return the same once garbage and free memory are given back."""
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.3)
        return self.resident()

    def cpu_s(self) -> float:
        """Return the CPU time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def blocking(self) -> ssl.SSLSocket:
        """Return a connection that is no loop's."""
        sock = socket.create_connection(self.address, PATIENCE_S)
        return self.context.wrap_socket(sock, server_hostname="localhost")

    async def connect(self, request: str):
        """Return the streams of a connection that has asked for something."""
        reader, writer = await asyncio.open_connection(
            *self.address, ssl=self.context, server_hostname="localhost"
        )
        writer.write(request.encode() + b"\n")
        return reader, writer

    async def ask(self, request: str) -> bytes:
        """Return the answer to a request."""
        reader, writer = await self.connect(request)
        answer = await reader.readline()
        await end(writer)
        return answer

    async def ready(self) -> None:
        """Have one connection, so that what is made once has been made."""
        await self.ask("told")
        await asyncio.sleep(0.3)
        self.before = self.descriptors()

    async def settle(self) -> None:
        """Wait until the server has closed every connection."""
        before, last = self.before, time.monotonic() + PATIENCE_S
        while (now := self.descriptors()) > before:
            require(time.monotonic() < last, f"{now} descriptors are open, {before} were before")
            await asyncio.sleep(0.02)


async def end(writer) -> None:
    """Close a connection."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def require_flat(resident: list[int], figures: dict, name: str) -> None:
    """Note the resident memory of each wave; it must not grow after the first half of them."""
    figures[name] = [round(nbytes / MIB, 1) for nbytes in resident]
    most = max(resident[: len(resident) // 2]) * (1 + FLAT_SHARE) + FLAT_BYTES
    require(resident[-1] <= most, f"resident memory grew: {figures[name]} MiB")


# ---- scenarios -------------------------------------------------------------------------------


async def in_sequence(target: Target, scale: float, figures: dict) -> None:
    """Have 100,000 connections, ten clients at a time; every fourth ends without a word."""
    waves, count = 10, int(100_000 * scale)
    theirs, ours = [], []

    async def client(first):
        for index in range(first, count // waves, 10):
            reader, writer = await target.connect("echo")
            message = b"%d\n" % index
            writer.write(message)
            answer = await reader.readline()
            require(answer == message, f"another answer to {index}: {answer!r}")
            if index % 4 == 0:
                writer.transport.abort()
            await end(writer)

    began = time.monotonic()
    for _ in range(waves):
        await asyncio.gather(*map(client, range(10)))
        await target.settle()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        theirs.append(target.resident_clean())
        ours.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)
    figures["connections"] = waves * len(range(count // waves))
    figures["per_s"] = round(count / (time.monotonic() - began))
    figures["descriptors"] = [target.before, target.descriptors()]
    require_flat(theirs, figures, "server_mib")
    require_flat(ours, figures, "clients_mib")


class Chaos:
    """Random pauses, cancels and resets, and how many there were."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.pauses = self.cancels = self.resets = 0

    async def pause(self) -> None:
        """Now and then do nothing for up to ten milliseconds."""
        if self.chance.random() < 0.02:
            self.pauses += 1
            await asyncio.sleep(self.chance.random() * 0.01)

    async def cancelled(self, coroutine):
        """Run it, or cancel it, which is None."""
        if self.chance.random() >= 0.05:
            return await coroutine
        task = asyncio.ensure_future(coroutine)
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        if task.cancel():
            self.cancels += 1
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    def reset(self, writer) -> bool:
        """Now and then reset the connection; return whether it was done."""
        if self.chance.random() >= 0.005:
            return False
        self.resets += 1
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        return True


async def upload(target: Target, total: int, chaos: Chaos) -> None:
    """Send everything, going on where the server says after each reset."""
    await target.ask("begin")
    done = 0
    while done < total:
        reader, writer = await target.connect("up")
        done = int(await reader.readline())
        while done < total:
            data = pattern(done, min(chaos.chance.choice([100, 5000, 60_000]), total - done))
            done += len(data)
            writer.write(data)
            await chaos.cancelled(writer.drain())
            await chaos.pause()
            if chaos.reset(writer):
                break
        await end(writer)
        await target.settle()
        done = int((await target.ask("told")).split()[0])


async def download(target: Target, total: int, chaos: Chaos) -> str:
    """Receive everything, going on after each reset where it stopped; return the hash."""
    digest, done = hashlib.sha256(), 0
    while done < total:
        reader, writer = await target.connect(f"down {done} {total}")
        while done < total:
            data = await chaos.cancelled(reader.read(65536))
            require(data != b"", f"it ended after {done} of {total}")
            if data:
                digest.update(data)
                done += len(data)
            await chaos.pause()
            if chaos.reset(writer):
                break
        await end(writer)
    return digest.hexdigest()


async def transfer(target: Target, scale: float, figures: dict) -> None:
    """Send and receive 200 MB; what arrives must be what was sent."""
    total = int(200e6 * scale)
    digest = hashlib.sha256()
    for start in range(0, total, MIB):
        digest.update(pattern(start, min(MIB, total - start)))
    up, down = Chaos(1), Chaos(2)
    began = time.monotonic()
    await upload(target, total, up)
    received = (await target.ask("told")).split()
    require(int(received[0]) == total, f"{received[0]} bytes came of {total}")
    require(received[1].decode() == digest.hexdigest(), "other bytes came than were sent")
    require(await download(target, total, down) == digest.hexdigest(), "other bytes came down")
    await target.settle()
    figures["seconds"] = round(time.monotonic() - began, 1)
    for name, chaos in ("up", up), ("down", down):
        figures[name] = [total, chaos.pauses, chaos.cancels, chaos.resets]
        require(total < 100 * MIB or chaos.resets > 0, "there was no reset")


async def idle(target: Target, scale: float, figures: dict) -> None:
    """Keep 1,000 connections that have said one thing; the server's memory for each."""
    count = max(10, int(1000 * scale))

    def open_some(number):
        made = []
        for _ in range(number):
            sock = target.blocking()
            sock.sendall(b"echo\nx")
            require(sock.recv(1) == b"x", "no echo")
            made.append(sock)
        return made

    loop = asyncio.get_running_loop()
    some = await loop.run_in_executor(None, open_some, 10)  # so that what is made once is made
    start = target.resident_clean()
    some += await loop.run_in_executor(None, open_some, count)
    figures["connections"] = count
    figures["bytes_each"] = (target.resident_clean() - start) // count
    for sock in some:
        sock.close()
    await target.settle()


class Trickle:
    """A socket that sends what an SSLObject wants to send byte by byte."""

    def __init__(self, target: Target):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sslobj = target.context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )
        self.sock = socket.create_connection(target.address, PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0

    def flush(self, gap_s: float) -> None:
        """Send what waits."""
        for byte in self.outgoing.read():
            self.sock.sendall(bytes([byte]))
            self.sent += 1
            time.sleep(gap_s)

    def talk(self, gap_s: float, records: int) -> None:
        """Shake hands and send records; wait for the echo of the last."""
        while True:
            try:
                self.sslobj.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush(gap_s)
                self.incoming.write(self.sock.recv(65536))
        self.sslobj.write(b"echo\n")
        for _ in range(records):
            self.sslobj.write(b"x")
        self.flush(gap_s)
        got = b""
        while len(got) < records:
            try:
                got += self.sslobj.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.sock.recv(65536))
        self.sock.close()


async def trickle(target: Target, scale: float, figures: dict) -> None:
    """Shake hands and send 1-byte records byte by byte: CPU that each byte costs the server."""
    records = max(10, int(1000 * scale))
    loop = asyncio.get_running_loop()
    cpu, peer = target.cpu_s(), Trickle(target)
    await loop.run_in_executor(None, peer.talk, 0.0001, records)
    figures["bytes"] = peer.sent
    figures["cpu_us_each"] = round((target.cpu_s() - cpu) / peer.sent * 1e6, 1)
    require(figures["cpu_us_each"] < 1000, "a byte costs the server more than a millisecond")
    await target.settle()


SCENARIOS = [in_sequence, transfer, idle, trickle]


# ---- the command -----------------------------------------------------------------------------


def certificate_for(folder: str) -> str:
    """Make a certificate that is trusted because it is its own authority's; return the file."""
    import trustme

    authority = trustme.CA()
    path = Path(folder) / "certificate.pem"
    issued = authority.issue_cert("localhost")
    parts = [issued.private_key_pem, *issued.cert_chain_pems, authority.cert_pem]
    path.write_bytes(b"".join(part.bytes() for part in parts))
    return str(path)


async def whole(scenario, target: Target, scale: float, figures: dict) -> None:
    """Run one scenario."""
    await target.ready()
    await scenario(target, scale, figures)


def measure(scenario, name: str, certificate: str, scale: float) -> dict:
    """Run one scenario on one loop; return its figures."""
    figures = {"scenario": scenario.__name__, "loop": name}
    with tempfile.TemporaryFile("w+") as log:
        target = None
        try:
            target = Target(name, certificate, log)
            with asyncio.Runner(loop_factory=factory(name)) as runner:
                runner.run(whole(scenario, target, scale, figures))
        except (Wrong, OSError, asyncio.IncompleteReadError) as exc:
            figures["wrong"] = f"{type(exc).__name__}: {exc}"
        finally:
            if target is not None:
                target.process.kill()
                target.process.wait()
        log.seek(0)
        if "Traceback" in (text := log.read()):
            figures["wrong"] = "the server logged: " + text[-2000:]
    return figures


def main() -> int:
    """Run the scenarios that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loops", default="casyncio", help="names, or name=module:attribute")
    parser.add_argument("--only", action="append", choices=[s.__name__ for s in SCENARIOS])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--json", help="write the figures there")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        with asyncio.Runner(loop_factory=factory(args.serve)) as runner:
            runner.run(serve(args.certificate))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        certificate = certificate_for(folder)
        for scenario in SCENARIOS:
            for name in args.loops.split(","):
                if not args.only or scenario.__name__ in args.only:
                    results.append(measure(scenario, name, certificate, args.scale))
                    print(json.dumps(results[-1]), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps({"tlsstress": results}))
    return any("wrong" in figures for figures in results)


if __name__ == "__main__":
    sys.exit(main())
