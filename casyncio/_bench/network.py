"""What does a loop do as a server? Each is a process of its own; the load is plain Python.

The load generator is a bare ``epoll`` loop in the measuring process, on another CPU.  It needs
no compiler, and it is what a fast server waits for: ratios are larger with the C load generator of
the repository (``make netbench``), never smaller.  CPU time per message does not depend on it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .harness import workload

KIB = 1024
CHUNK = 256 * KIB
CONNECTIONS = 10
SILENCE_S = 10  # a server that says nothing for so long has failed
CELL = str(Path(__file__).with_name("cell.py"))
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def cpus():
    """Return the CPUs for the server and for the load; empty texts on a single one."""
    able = sorted(os.sched_getaffinity(0))
    return (str(able[0]), str(able[1])) if len(able) > 1 else ("", "")


@contextlib.contextmanager
def on_cpu(cpu):
    """Keep this process on one CPU during the block."""
    able = os.sched_getaffinity(0)
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, able)


class Server:
    """A server process; as a context manager it ends with the block."""

    def __init__(self, loop_spec, kind, place, size):
        command = [sys.executable, "-P", CELL, "serve", loop_spec, kind, place, str(size)]
        self.place = place
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, "BENCH_CPU": cpus()[0]},
        )

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            self.errors.seek(0)
            sys.stderr.write(self.errors.read().decode(errors="replace"))
            sys.exit(1)  # the server has said why
        if self.place.startswith("unix:"):
            self.address = self.place.partition(":")[2]
        else:
            self.address = ("127.0.0.1", int(line.split()[1]))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def cpu(self):
        """Return the CPU time that it has used: ticks in user mode, all ticks, nanoseconds."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        user, both = int(stat[11]), int(stat[11]) + int(stat[12])
        ns = both * 1e9 / os.sysconf("SC_CLK_TCK")
        with contextlib.suppress(OSError, ValueError):  # exact, where the kernel has it
            ns = int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])
        return user, both, ns


class Load:
    """Some connections with one message outstanding each."""

    def __init__(self, server, kind, message, answer_size):
        self.server, self.message, self.size = server, message, answer_size
        self.udp, self.unix = kind == "udp", kind == "unix"
        self.churns = kind == "churn"
        self.poller, self.socks, self.left = select.epoll(), {}, {}
        self.buffer = bytearray(CHUNK)

    def __enter__(self):
        for _ in range(CONNECTIONS):
            self.connect()
        return self

    def __exit__(self, *_):
        for sock in self.socks.values():
            sock.close()
        self.poller.close()

    def connect(self):
        """Open a connection and send its first message."""
        kind = socket.SOCK_DGRAM if self.udp else socket.SOCK_STREAM
        sock = socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET, kind)
        sock.connect(self.server.address)
        if not self.udp and not self.unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socks[sock.fileno()], self.left[sock.fileno()] = sock, self.size
        self.poller.register(sock, select.EPOLLIN)
        sock.sendall(self.message)

    def done(self, fd, sock):
        """Go on after a whole answer."""
        if not self.churns:
            self.left[fd] = self.size
            sock.sendall(self.message)
            return
        del self.socks[fd]
        sock.close()
        self.connect()

    def run(self, seconds):
        """Exchange messages for some seconds; return how many were answered, and the time."""
        count, began = 0, time.perf_counter()
        poll, socks, left, buffer = self.poller.poll, self.socks, self.left, self.buffer
        end = began + seconds
        while (now := time.perf_counter()) < end:
            ready = poll(SILENCE_S)
            if not ready:
                sys.exit("Error: the server does not answer")
            for fd, _ in ready:
                sock = socks[fd]
                got = sock.recv_into(buffer)
                if not got:
                    sys.exit("Error: the server ended a connection")
                left[fd] -= got
                if left[fd] <= 0:
                    count += 1
                    self.done(fd, sock)
        return count, now - began


def check(server, kind, message, echo):
    """Have one message answered, compare it if it is an echo, and return the answer's size."""
    types = {"udp": (socket.AF_INET, socket.SOCK_DGRAM), "unix": (socket.AF_UNIX, 1)}
    with socket.socket(*types.get(kind, (socket.AF_INET, socket.SOCK_STREAM))) as sock:
        sock.settimeout(SILENCE_S)
        sock.connect(server.address)
        sock.sendall(message)
        if not echo:
            return http_size(sock)
        answer = b""
        while len(answer) < len(message) and (got := sock.recv(CHUNK)):
            answer += got
    if answer != message:
        sys.exit("Error: a wrong answer")
    return len(answer)


def http_size(sock):
    """Read one response; return its size."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(CHUNK)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: *(\d+)", head, re.I)[1])
    while len(body) < length:
        body += sock.recv(CHUNK)
    return len(head) + 4 + length


def measure(loop_spec, seconds, server_kind, kind="tcp", size=KIB, message=None):
    """Return what a server does per second, and its CPU time per message."""
    payload = message or os.urandom(size)
    with tempfile.TemporaryDirectory() as folder:
        place = {"unix": f"unix:{folder}/s", "udp": "udp:0"}.get(kind, "tcp:0")
        with Server(loop_spec, server_kind, place, size) as server, on_cpu(cpus()[1]):
            answer_size = check(server, kind, payload, message is None)
            with Load(server, kind, payload, answer_size) as load:
                load.run(seconds / 2)  # warms up
                before = server.cpu()
                count, took_s = load.run(2 * seconds)
                user, both, ns = (b - a for a, b in zip(before, server.cpu(), strict=True))
    cpu_us = ns / 1000 / max(count, 1)
    costs = {"cpu_us": cpu_us, "user_us": cpu_us * user / max(both, 1)}
    return {"value": count / took_s, "done": count, "repetitions": 1, **costs}


@workload(unit="msg/s", shared=True, quick=True)
def server_tcp_protocol(loop_spec, seconds):
    """TCP, a Protocol echoes 1 KiB to ten connections."""
    return measure(loop_spec, seconds, "protocol")


@workload(unit="msg/s", shared=True)
def server_tcp_protocol_100k(loop_spec, seconds):
    """The same with 100 KiB."""
    return measure(loop_spec, seconds, "protocol", size=100 * KIB)


@workload(unit="msg/s", shared=True)
def server_tcp_buffered(loop_spec, seconds):
    """TCP, a BufferedProtocol echoes 1 KiB to ten connections."""
    return measure(loop_spec, seconds, "buffered")


@workload(unit="msg/s", shared=True, quick=True)
def server_tcp_streams(loop_spec, seconds):
    """TCP, streams echo 1 KiB to ten connections."""
    return measure(loop_spec, seconds, "streams")


@workload(unit="msg/s", shared=True)
def server_tcp_sock(loop_spec, seconds):
    """TCP, ``loop.sock_recv`` and ``sock_sendall`` echo 1 KiB to ten connections."""
    return measure(loop_spec, seconds, "sock")


@workload(unit="msg/s", shared=True, quick=True)
def server_unix_protocol(loop_spec, seconds):
    """UNIX sockets, a Protocol echoes 1 KiB to ten connections."""
    return measure(loop_spec, seconds, "protocol", "unix")


@workload(unit="msg/s", shared=True, quick=True)
def server_udp(loop_spec, seconds):
    """UDP, datagrams of 1 KiB are echoed to ten sockets."""
    return measure(loop_spec, seconds, "protocol", "udp")


@workload(unit="conn/s", shared=True, quick=True)
def server_churn(loop_spec, seconds):
    """TCP, a Protocol echoes one message of 1 KiB on each of many connections, ten at a time."""
    return measure(loop_spec, seconds, "protocol", "churn")


@workload(unit="req/s", shared=True, module="uvicorn", quick=True)
def server_uvicorn(loop_spec, seconds):
    """uvicorn answers GET requests on ten connections, with httptools where it is installed."""
    parser = "httptools" if has("httptools") else "h11"
    return measure(loop_spec, seconds, parser, "tcp", message=REQUEST)


@workload(unit="req/s", shared=True, module="aiohttp", quick=True)
def server_aiohttp(loop_spec, seconds):
    """aiohttp.web answers GET requests on ten connections."""
    return measure(loop_spec, seconds, "aiohttp", "tcp", message=REQUEST)


def has(module):
    """Whether a package is installed."""
    import importlib.util

    return importlib.util.find_spec(module) is not None
