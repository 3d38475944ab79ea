"""The rows of the network suite: traffic, transport, size of messages, number of connections."""

from __future__ import annotations

import fnmatch
import itertools
from dataclasses import dataclass

KIB = 1024
GROUPS = ("tcp", "unix", "udp", "churn", "http", "memory", "client")
STREAM_KINDS = ("protocol", "buffered", "streams", "readexactly", "sock")
SIZES = {"1k": KIB, "10k": 10 * KIB, "100k": 100 * KIB}
CONNECTIONS = (1, 10, 100, 1000)
IDLE_CONNECTIONS = 10_000

# A run without --only measures these of each group, and with --quick the second list.
USUAL = (
    "tcp_protocol_*k_c1 tcp_protocol_*_c10 tcp_protocol_1k_c* tcp_buffered_*_c10 tcp_streams_1k_c* "
    "tcp_streams_*_c10 tcp_readexactly_1k_c10 tcp_sock_*_c10 tcp_sock_1k_c1000 unix_*_1k_c10 "
    "unix_protocol_100k_c10 udp_*_1k_c10 churn_* http_*_c50 memory_* client_*_c10"
).split()
QUICK = (
    "tcp_protocol_1k_c10 tcp_protocol_100k_c10 tcp_buffered_1k_c10 tcp_streams_1k_c10 "
    "tcp_sock_1k_c10 unix_protocol_1k_c10 udp_protocol_1k_c10 churn_tcp_protocol_c10 "
    "http_uvicorn_httptools_c50 memory_protocol client_streams_1k_c10"
).split()


@dataclass(frozen=True)
class Row:
    """One row: ``load`` is the load generator's mode, or ``client`` when clients are measured."""

    name: str
    group: str
    kind: str  # which of the servers or clients in peers.py
    scheme: str = "tcp"
    size: int = KIB  # bytes of a message
    conns: int = 10
    load: str = "echo"
    unit: str = "msg/s"

    @property
    def floors(self) -> tuple[str, ...]:
        """The C servers that can do this."""
        if self.group in ("udp", "memory", "client"):
            return ("C epoll",)
        return ("C epoll", "C io_uring")


def echo_rows():
    """Yield the rows of echoed messages."""
    for scheme, kind in itertools.product(("tcp", "unix"), STREAM_KINDS):
        for (label, size), conns in itertools.product(SIZES.items(), CONNECTIONS):
            yield Row(f"{scheme}_{kind}_{label}_c{conns}", scheme, kind, scheme, size, conns)
    # A kernel's default receive buffer holds but a few datagrams, so 10 connections are the most.
    for kind, label, conns in itertools.product(("protocol", "sock"), ("1k", "10k"), (1, 10)):
        yield Row(f"udp_{kind}_{label}_c{conns}", "udp", kind, "udp", SIZES[label], conns)


def other_rows():
    """Yield the rows of short connections, HTTP, memory and clients."""
    for scheme, kind in itertools.product(("tcp", "unix"), ("protocol", "streams", "sock")):
        name = f"churn_{scheme}_{kind}_c10"
        yield Row(name, "churn", kind, scheme, load="churn", unit="conn/s")
    for name, kind in (
        ("aiohttp", "aiohttp"),
        ("uvicorn_h11", "h11"),
        ("uvicorn_httptools", "httptools"),
    ):
        for conns in (1, 50):
            row = f"http_{name}_c{conns}"
            yield Row(row, "http", kind, conns=conns, load="http", unit="req/s")
    for kind in ("protocol", "streams"):
        idle = {"size": 64, "conns": IDLE_CONNECTIONS, "load": "idle", "unit": "B"}
        yield Row(f"memory_{kind}", "memory", kind, **idle)
    for kind, conns in itertools.product(("protocol", "streams", "sock"), (1, 10)):
        yield Row(f"client_{kind}_1k_c{conns}", "client", kind, conns=conns, load="client")
    for conns in (1, 10):
        name = f"client_aiohttp_c{conns}"
        yield Row(name, "client", "aiohttp", conns=conns, load="client", unit="req/s")


ROWS = {row.name: row for row in itertools.chain(echo_rows(), other_rows())}


def chosen(patterns: list[str] | None, quick: bool) -> list[Row]:
    """Return the rows whose names match a pattern; without patterns the usual or quick ones."""
    patterns = patterns or (QUICK if quick else USUAL)
    return [row for name, row in ROWS.items() if any(fnmatch.fnmatch(name, p) for p in patterns)]
