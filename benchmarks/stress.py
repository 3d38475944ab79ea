#!/usr/bin/env python3
"""Treat a server badly, and look whether it loses anything or keeps anything.

    python benchmarks/stress.py                                casyncio, everything: some minutes
    python benchmarks/stress.py --loops asyncio,casyncio --only resets --scale 0.1
    python benchmarks/stress.py --kinds streams --backend poll

An echo server (a Protocol with flow control, streams, or the loop's socket methods) runs in a
process of its own; plain blocking and non-blocking sockets in this one treat it so:

    at_once       10,000 connections open at the same time, wave after wave
    in_sequence   100,000 connections, one after another
    slow_readers  20 peers that send and do not read until nothing is taken, then read slowly
    resets        peers that reset the connection at every stage of a conversation
    emfile        200 connections at a server that may open 50, again and again
    moods         1,000 connections that push, rest, half close, close and reset as dice say, and a
                  server that does the same and cancels (moods.py); every other peer is spared its
                  moods for the worse and must get every byte back

Every byte that comes back is compared. After each scenario the server must have as many open
descriptors as before, its resident memory without garbage (in at_once: at the peak) must not have
grown from the first waves to the last, and it must have logged no traceback (but for the shortage
in emfile). Exit status 1 when something of that does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import heapq
import itertools
import os
import random
import resource
import select
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import drive, moods, net

KINDS = ("careful", "streams", "sock")
PAGE = resource.getpagesize()
MIB = 1 << 20
SPARE_DESCRIPTORS = 200
PATIENCE_S = float(os.environ.get("STRESS_PATIENCE_S", "30"))
MOST_EACH = 16 * MIB  # that a peer sends without reading: more than the kernel keeps
MOST_HOARD = MIB  # that a server may keep of it
IP_BIND_ADDRESS_NO_PORT = 24
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets
SOURCES = itertools.cycle(f"127.0.0.{i}" for i in range(1, 65))
WAVE_S = 15.0  # of moods
PUSHES = (1, 100, 5000, 65536)
MOST_BEHIND = 256 * 1024  # bytes on their way there and back, in moods
PEER_REST_S = 0.05  # at most
# Growth of resident memory that counts as none: malloc's arenas are never quite the same.
FLAT_BYTES = 2 * MIB
FLAT_SHARE = 0.05


class Wrong(Exception):
    """The server did what it must not do."""


def require(holds: bool, what: str) -> None:
    """Raise Wrong unless it holds."""
    if not holds:
        raise Wrong(what)


def message(index: int, nbytes: int = 64) -> bytes:
    """Return bytes that no other connection sends."""
    return (f"{index:016d}" * (nbytes // 16 + 1)).encode()[:nbytes]


class Target:
    """A server under stress, and what it uses."""

    def __init__(self, server: net.Server):
        self.server, self.pid = server, server.pid
        self.address = ("127.0.0.1", int(server.place.partition(":")[2]))
        self.prompt_ms()  # so that what is made once has been made
        self.descriptors_before = self.descriptors()

    def resident(self) -> int:
        """Return the resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    def resident_clean(self) -> int:
        """Return the resident memory in bytes once garbage and free memory are given back."""
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.05)
        self.prompt_ms()
        return self.resident()

    def descriptors(self) -> int:
        """Return the number of open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self) -> float:
        """Return the CPU time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self, blocking: bool = True, receive_buffer: int = 0) -> socket.socket:
        """Return a connection; the sources vary, so that TIME_WAIT does not use up the ports."""
        sock = socket.socket()
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((next(SOURCES), 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        if blocking:
            sock.connect(self.address)
            return sock
        sock.setblocking(False)
        err = sock.connect_ex(self.address)
        require(err in (0, errno.EINPROGRESS), f"connect: {os.strerror(err)}")
        return sock

    def talk(self, index: int) -> None:
        """Have one whole conversation: connect, one message, shut down, end."""
        data = message(index)
        with self.connect() as sock:
            sock.sendall(data)
            got = sock.recv(len(data))
            while got and len(got) < len(data) and data.startswith(got):
                got += sock.recv(len(data) - len(got))
            require(got == data, f"connection {index} got {got[:40]!r} for {data[:40]!r}")
            sock.shutdown(socket.SHUT_WR)
            require(sock.recv(1) == b"", f"connection {index} got more than it sent")

    def prompt_ms(self) -> float:
        """Return how long a conversation takes now."""
        began = time.perf_counter()
        self.talk(0)
        return (time.perf_counter() - began) * 1000

    def settle(self) -> None:
        """Wait until the server has closed every connection."""
        end = time.monotonic() + PATIENCE_S
        while (now := self.descriptors()) != self.descriptors_before:
            require(
                time.monotonic() < end,
                f"{now} descriptors are open, {self.descriptors_before} were before",
            )
            time.sleep(0.02)


def in_mib(resident: list[int]) -> list[float]:
    """Return sizes in bytes as they are printed."""
    return [round(nbytes / MIB, 1) for nbytes in resident]


def require_flat(resident: list[int], figures: dict, name: str = "rss_mib") -> None:
    """Note the resident memory of each wave; it must not grow after the first half of them."""
    figures[name] = in_mib(resident)
    most = max(resident[: len(resident) // 2]) * (1 + FLAT_SHARE) + FLAT_BYTES
    require(resident[-1] <= most, f"resident memory grew: {figures[name]} MiB")


class Crowd:
    """Many peers, each of which sends a message of its own and wants the same bytes back."""

    def __init__(self, target: Target, count: int, first: int = 0):
        self.wanted = {target.connect(False): message(first + i) for i in range(count)}
        self.unsent = dict(self.wanted)
        self.echoes = dict.fromkeys(self.wanted, b"")
        self.watch = selectors.EpollSelector()
        for sock in self.wanted:
            self.watch.register(sock, selectors.EVENT_WRITE)

    def served(self, enough: int, within: float) -> list[socket.socket]:
        """Serve events until so many more peers have their echo or no news come; return them."""
        done: list[socket.socket] = []
        while len(done) < enough and (ready := self.watch.select(within)):
            for key, events in ready:
                if events & selectors.EVENT_WRITE:
                    self.send(key.fileobj)
                elif self.receive(key.fileobj):
                    done.append(key.fileobj)
        return done

    def send(self, sock: socket.socket) -> None:
        """Send what is left of the message."""
        self.unsent[sock] = self.unsent[sock][sock.send(self.unsent[sock]) :]
        if not self.unsent[sock]:
            self.watch.modify(sock, selectors.EVENT_READ)

    def receive(self, sock: socket.socket) -> bool:
        """Take what came; return whether that was all."""
        data = sock.recv(65536)
        self.echoes[sock] += data
        echo, wanted = self.echoes[sock], self.wanted[sock]
        require(
            bool(data) and wanted.startswith(echo),
            f"{data[:40]!r} came, with which {len(echo)} of {len(wanted)} bytes are there",
        )
        if echo == wanted:
            self.watch.unregister(sock)
        return echo == wanted

    def close(self) -> None:
        """Close every connection."""
        close_all(self.wanted)
        self.watch.close()


def close_all(conns) -> None:
    """Close many sockets."""
    for sock in conns:
        sock.close()


# ---- scenarios -------------------------------------------------------------------------------


def at_once(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Have 10,000 connections open at the same time, wave after wave.

    Memory is compared while all are open: what stays when they are gone depends on where in the
    allocator's arenas the few survivors lie.
    """
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_DESCRIPTORS
    count = min(int(10_000 * scale) or 1, room)
    resident, peaks = [], []
    figures["connections"] = count
    for wave in range(waves):
        began = time.monotonic()
        crowd = Crowd(target, count, wave * count)
        try:
            done = len(crowd.served(count, PATIENCE_S))
            require(done == count, f"{count - done} of {count} had no answer")
            figures["open"] = target.descriptors() - target.descriptors_before
            require(figures["open"] == count, f"{figures['open']} of {count} were open")
            peaks.append(target.resident())
        finally:
            crowd.close()
        target.settle()
        figures["wave_s"] = round(time.monotonic() - began, 1)
        resident.append(target.resident_clean())
    figures["rss_mib"] = in_mib(resident)
    require_flat(peaks, figures, "peak_mib")


def in_sequence(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Have 100,000 connections one after another."""
    count = int(100_000 * scale) or 1
    resident, began = [], time.monotonic()
    for index in range(1, count + 1):
        target.talk(index)
        if index % (count // waves or 1) == 0:
            resident.append(target.resident_clean())
    figures["connections"] = count
    figures["per_s"] = round(count / (time.monotonic() - began))
    target.settle()
    require_flat(resident, figures)


class SlowReader:
    """A peer that sends a lot, and reads only when it is told to."""

    def __init__(self, target: Target, index: int):
        # The pattern and the piece repeat, so that any part of the echo is found in them.
        self.piece = message(index, 65536)
        self.sent = self.got = 0
        self.sock = target.connect(receive_buffer=16384)
        self.sock.setblocking(False)

    def push(self) -> int:
        """Send what fits; return how much that was."""
        pushed = 0
        with contextlib.suppress(BlockingIOError):
            while self.sent < MOST_EACH:
                n = self.sock.send(self.piece[self.sent % 65536 :])
                self.sent += n
                pushed += n
        return pushed

    def pull(self, most: int) -> None:
        """Read some of the echo."""
        with contextlib.suppress(BlockingIOError):
            data = self.sock.recv(min(most, 65536))
            require(data != b"", f"the connection ended after {self.got} of {self.sent} bytes")
            start = self.got % 65536
            same = (self.piece + self.piece)[start : start + len(data)] == data
            require(same, f"other bytes came than were sent, after {self.got}")
            self.got += len(data)


def stall(peers: list[SlowReader]) -> None:
    """Send until the server takes nothing more."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.5:
        if sum(peer.push() for peer in peers):
            quiet_since = time.monotonic()
        else:
            time.sleep(0.02)


def read_slowly(peers: list[SlowReader]) -> None:
    """Read everything: single bytes first, then more and more."""
    sizes = itertools.chain([1] * 50, [1000] * 20, itertools.repeat(65536))
    end = time.monotonic() + 10 * PATIENCE_S
    left = peers
    while left and time.monotonic() < end:
        most = next(sizes)
        for peer in left:
            peer.pull(most)
        left = [peer for peer in left if peer.got < peer.sent]
        if most > 1000 and left:
            select.select([peer.sock for peer in left if peer.sock.fileno() < 1024], [], [], 0.05)
    require(not left, f"{len(left)} of {len(peers)} slow readers did not get everything")


def slow_readers(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Send without reading, then read slowly; the server must not hoard what it cannot send."""
    count = max(2, int(20 * scale))
    resident = []
    figures["connections"] = count
    for _ in range(waves):
        before = target.resident()
        peers = [SlowReader(target, i) for i in range(count)]
        try:
            stall(peers)
            hoard = (target.resident() - before) / count
            figures["hoard_kib"] = round(hoard / 1024)
            figures["prompt_ms"] = round(target.prompt_ms(), 1)
            most = max(peer.sent for peer in peers)
            figures["taken_mib"] = round(most / MIB, 1)
            require(
                hoard < MOST_HOARD, f"the server keeps {hoard / 1024:.0f} KiB for each slow reader"
            )
            read_slowly(peers)
        finally:
            close_all(peer.sock for peer in peers)
        target.settle()
        resident.append(target.resident_clean())
    require_flat(resident, figures)


def push_until_stuck(sock: socket.socket) -> None:
    """Send without reading until nothing more is taken."""
    sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        for _ in range(MOST_EACH // MIB):
            sock.sendall(bytes(MIB))


def stage_connected(sock):
    """Right after connecting."""


def stage_request(sock):
    """After sending, before anything came back."""
    sock.sendall(bytes(1000))


def stage_unread(sock):
    """With the answer here, unread."""
    sock.sendall(bytes(1000))
    sock.recv(1, socket.MSG_PEEK)


def stage_in_the_answer(sock):
    """With part of the answer read and part of it under way."""
    sock.sendall(bytes(100_000))
    sock.recv(100)


def stage_stuck(sock):
    """When the server waits for us to read."""
    push_until_stuck(sock)


def stage_shut_down(sock):
    """After our end of stream, before the server's."""
    sock.sendall(bytes(100_000))
    sock.shutdown(socket.SHUT_WR)


def stage_ended(sock):
    """After a whole conversation."""
    sock.sendall(b"x")
    sock.recv(1)
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


STAGES = [value for name, value in list(globals().items()) if name.startswith("stage_")]


def reset_at(target: Target, stage, count: int) -> None:
    """Let some peers reach a stage together and reset all of them."""
    conns = [target.connect() for _ in range(count)]
    for sock in conns:
        stage(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    close_all(conns)


def resets(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Reset connections at every stage; others must not notice."""
    groups, count = max(1, int(20 * scale)), 10
    resident, slowest_ms = [], 0.0
    for _ in range(waves):
        for stage in STAGES:
            for _ in range(1 if stage is stage_stuck else groups):
                reset_at(target, stage, count)
            slowest_ms = max(slowest_ms, target.prompt_ms())
        target.settle()
        resident.append(target.resident_clean())
    figures["resets"] = waves * count * ((len(STAGES) - 1) * groups + 1)
    figures["prompt_ms"] = round(slowest_ms, 1)
    require_flat(resident, figures)


def storm(target: Target, count: int) -> float:
    """Connect more peers than the server may have; return its CPU seconds in a second of that."""
    crowd = Crowd(target, count)
    try:
        served = crowd.served(count, 1.5)
        require(0 < len(served) < count, f"{len(served)} of {count} were served at once")
        began = target.cpu_s()
        time.sleep(1)
        busy_s = target.cpu_s() - began
        left, batch = count, len(served)
        while served:
            left -= len(served)
            close_all(served)
            served = crowd.served(min(left, batch), PATIENCE_S) if left else []
        require(left == 0, f"{left} of {count} were never served")
    finally:
        crowd.close()
    return busy_s


def emfile(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Connect 200 peers to a server that may open 50 descriptors more; nobody may be lost."""
    count, room = 200, 50
    limits = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
    resident, busy_s = [], 0.0
    for _ in range(waves):
        few = target.descriptors_before + room
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (few, limits[1]))
        busy_s = max(busy_s, storm(target, count))
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, limits)
        target.settle()
        resident.append(target.resident_clean())
    figures.update(storms=waves, connections=count, busy=f"{100 * busy_s:.0f}%")
    figures["prompt_ms"] = round(target.prompt_ms(), 1)
    require(
        busy_s < 0.5, f"the server was busy {100 * busy_s:.0f} % of the time it could do nothing"
    )
    require_flat(resident, figures)


class Moody:
    """A peer that nobody can rely on; a sober one must get back what it has sent."""

    def __init__(self, target: Target, index: int, place: int):
        self.place, self.sober = place, index % 2 == 0
        piece = (b"s" if self.sober else moods.MOODY) + b"%07d01234567" % index
        self.pattern = piece * (2 * PUSHES[-1] // len(piece))
        self.sent = self.got = 0
        self.shut = False
        self.sock = target.connect()
        self.sock.setblocking(False)

    def push(self, most: int) -> None:
        """Send what fits of so many bytes."""
        most = min(most, MOST_BEHIND - (self.sent - self.got))
        if self.shut or most <= 0:
            return
        start = self.sent % PUSHES[-1]
        try:
            self.sent += self.sock.send(self.pattern[start : start + most])
        except BlockingIOError:
            pass
        except ConnectionError as error:
            require(not self.sober, f"a connection without moods ended: {error}")

    def pull(self, most: int) -> bool:
        """Take some of what came; return whether the connection goes on."""
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return True
        except ConnectionError as error:
            require(not self.sober, f"a connection without moods ended: {error}")
            return False
        start = self.got % PUSHES[-1]
        same = self.pattern[start : start + len(data)] == data
        require(same, f"other bytes came than were sent, after {self.got}")
        self.got += len(data)
        require(self.got <= self.sent, "more came than was sent")
        whole = self.shut and self.got == self.sent
        require(
            bool(data) or not self.sober or whole,
            f"the connection ended after {self.got} of {self.sent} bytes",
        )
        return bool(data)

    def shut_down(self) -> None:
        """Send no more."""
        self.shut = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def end(self, reset: bool = False) -> None:
        """Close, or reset the connection."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class MoodyCrowd:
    """Many of them, always as many: who ends is followed by another."""

    def __init__(self, target: Target, count: int, rng: random.Random, numbers):
        self.target, self.rng, self.numbers = target, rng, numbers
        self.watch = selectors.EpollSelector()
        self.resting: list[tuple[float, int, Moody]] = []
        self.moves = {"pushes": 0, "rests": 0, "shut": 0, "closed": 0, "reset": 0, "ended": 0}
        self.peers: list[Moody] = []
        for place in range(count):
            self.join(place)

    def join(self, place: int) -> None:
        """Put a new peer at this place."""
        peer = Moody(self.target, next(self.numbers), place)
        self.peers[place : place + 1] = [peer]
        self.watch.register(peer.sock, selectors.EVENT_READ, peer)

    def leave(self, peer: Moody, how: str) -> None:
        """End a peer and let another take its place."""
        self.moves[how] += 1
        with contextlib.suppress(KeyError):
            self.watch.unregister(peer.sock)
        peer.end(how == "reset")
        self.join(peer.place)

    def rest(self, peer: Moody) -> None:
        """Have a peer read nothing for a moment."""
        with contextlib.suppress(KeyError):
            self.watch.unregister(peer.sock)
            self.moves["rests"] += 1
            until = time.monotonic() + self.rng.random() * PEER_REST_S
            heapq.heappush(self.resting, (until, next(self.numbers), peer))

    def wake(self, now: float) -> None:
        """Have those read again who have rested, unless they have ended."""
        while self.resting and self.resting[0][0] <= now:
            peer = heapq.heappop(self.resting)[2]
            if peer.sock.fileno() >= 0:
                self.watch.register(peer.sock, selectors.EVENT_READ, peer)

    def read(self, within: float) -> None:
        """Let everybody read who has something to read."""
        for key, _ in self.watch.select(within):
            if not key.data.pull(self.rng.choice(PUSHES[1:])):
                self.leave(key.data, "ended")

    def move(self) -> None:
        """Let the dice choose somebody, and what he does."""
        peer, mood = self.rng.choice(self.peers), self.rng.random()
        if mood < 0.8:
            self.moves["pushes"] += 1
            peer.push(self.rng.choice(PUSHES))
        elif mood < 0.92:
            self.rest(peer)
        elif mood < 0.96:
            self.moves["shut"] += 1
            peer.shut_down()
        else:
            self.leave(peer, "closed" if mood < 0.98 else "reset")

    def play(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.wake(now)
            for _ in range(max(1, len(self.peers) // 50)):
                self.move()
            self.read(0.002)

    def calm_down(self) -> None:
        """End everybody in good order: half close, and read to the end."""
        self.wake(float("inf"))
        for peer in self.peers:
            peer.shut_down()
        left, end = len(self.peers), time.monotonic() + PATIENCE_S
        while left:
            require(time.monotonic() < end, f"{left} connections did not end")
            for key, _ in self.watch.select(1):
                if not key.data.pull(PUSHES[-1]):
                    self.watch.unregister(key.fileobj)
                    left -= 1

    def close(self) -> None:
        """Close every connection."""
        for peer in self.peers:
            peer.end()
        self.watch.close()


def in_moods(target: Target, scale: float, waves: int, figures: dict) -> None:
    """Have 1,000 connections do what they like, and end in good order."""
    count, numbers = max(2, int(1000 * scale)), itertools.count()
    resident = []
    figures["at_once"] = count
    for wave in range(waves):
        crowd = MoodyCrowd(target, count, random.Random(wave), numbers)
        try:
            crowd.play(WAVE_S * min(scale, 1))
            crowd.calm_down()
        finally:
            crowd.close()
        for name, times in crowd.moves.items():
            figures[name] = figures.get(name, 0) + times
        target.settle()
        resident.append(target.resident_clean())
    figures["prompt_ms"] = round(target.prompt_ms(), 1)
    require_flat(resident, figures)


SCENARIOS = {f.__name__: f for f in (at_once, in_sequence, slow_readers, resets, emfile)}
SCENARIOS["moods"] = in_moods


# ---- running ---------------------------------------------------------------------------------


def attempt(args, one: drive.Contender, kind: str, name: str) -> dict:
    """Run one scenario against a fresh server; return its figures, and what was wrong."""
    serve = [*moods.CELL, "moods"] if name == "moods" else [*drive.CELL, "serve"]
    command = [args.python, "-P", *serve, one.spec, kind, "tcp:0", "0"]
    figures: dict = {"loop": one.name, "kind": kind, "scenario": name}
    began = time.monotonic()
    short = name == "emfile"
    env = {**one.env, **({"BENCH_BACKLOG": "256"} if short else {})}
    try:
        with net.Server(command, "tcp:0", env) as server:
            try:
                SCENARIOS[name](Target(server), args.scale, args.waves, figures)
                logged = server.stderr().count("Traceback")
                figures.update({"logged": logged} if short else {})
                require(short or not logged, f"the server logged {logged} tracebacks")
                faults = server.stderr().count("runtime error: ")  # of UBSan
                require(not faults, f"the server did {faults} undefined things")
            except (Wrong, OSError) as error:
                said = server.death() or server.stderr().strip().rpartition("\n")[2]
                figures["wrong"] = f"{error}{f'; the server says: {said}' if said else ''}"
    except drive.Failed as error:
        figures["wrong"] = str(error)
    figures["took_s"] = round(time.monotonic() - began, 1)
    return figures


def line(figures: dict) -> str:
    """Return the figures of one scenario in one line."""
    head = ("loop", "kind", "scenario", "wrong")
    rest = ", ".join(f"{key} {value}" for key, value in figures.items() if key not in head)
    verdict = f"WRONG: {figures['wrong']}" if "wrong" in figures else "ok"
    return f"{figures['loop']:<9} {figures['kind']:<8} {figures['scenario']:<13} {verdict} ({rest})"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/stress.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--loops", dest="loop", type=drive.loops_option, metavar="A,B", default=["casyncio"])
    add("--backend", action="append", default=[], metavar="NAME", help="casyncio on it once more")
    add("--kinds", type=lambda text: text.split(","), default=list(KINDS), metavar="A,B")
    add("--only", action="append", choices=SCENARIOS, help="repeatable; default: all")
    add("--scale", type=float, default=1.0, help="of the numbers of connections, default 1")
    add("--waves", type=int, default=4, metavar="N", help="of each scenario, default 4, least 2")
    add("--timeout", type=float, default=30, help=argparse.SUPPRESS)
    add("--json", dest="out", metavar="FILE", help="write the figures to this file")
    add("--python", default=sys.executable, help="interpreter in which the loops are installed")
    args = parser.parse_args(argv)
    if args.loop == ["casyncio"]:
        args.loop = drive.loops_option("casyncio")
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"--kinds are {', '.join(KINDS)}; not {', '.join(sorted(unknown))}")
    if args.waves < 2:
        parser.error("--waves: growth shows from the second wave on")
    args.realtime, args.pin, args.cell = False, None, drive.CELL  # of the drivers' shared options
    return args


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for; return the exit status."""
    args = parse(argv)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    who, _ = drive.contenders(args)
    if not who:
        sys.exit("none of the loops can be imported")
    results = []
    for one, kind, name in itertools.product(who, args.kinds, args.only or SCENARIOS):
        if (kind, name) == ("sock", "emfile"):
            print(
                f"{one.name:<9} sock     emfile        left out: there the program itself accepts"
            )
            continue
        results.append(attempt(args, one, kind, name))
        print(line(results[-1]), flush=True)
        drive.save(args.out, {"stress": results})
    wrong = sum("wrong" in figures for figures in results)
    print(f"{len(results)} scenarios, {wrong} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
