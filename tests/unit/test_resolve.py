"""Names and addresses: what getaddrinfo() answers, and what it does without a thread."""

import asyncio
import concurrent.futures
import inspect
import itertools
import logging
import re
import socket
import subprocess
import sys
import threading

import pytest

HOSTS = [
    "127.0.0.1",
    b"127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "::1",
    b"::1",
    "::",
    "2001:DB8:0:0:0::0001",
    "fe80::1",
    "ff02::1",
    "::ffff:10.1.2.3",
    "64:ff9b::192.0.2.33",
]
ODD_HOSTS = [
    None,
    "",
    b"",
    "127.1",
    "127.000.000.001",
    "0x7f.1",
    "2130706433",
    "256.0.0.1",
    "1.2.3.4.",
    " 127.0.0.1",
    "127.0.0.1 ",
    "127.0.0.1\0",
    b"127.0.0.1\0x",
    "[::1]",
    "::1%lo",
    "fe80::1%lo",
    "fe80::1%1",
    "fe80::1%nothing",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "\u0661\u0662\u0667.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    bytearray(b"127.0.0.1"),
    127,
]
PORTS = [0, 80, 65535, None, "80", "0080", "65535"]
ODD_PORTS = [
    "",
    b"80",
    b"",
    "http",
    "65536",
    "99999",
    "000080",
    "-1",
    "+80",
    " 80",
    "80 ",
    "0x50",
    "8\0",
    -1,
    65536,
    10**30,
    80.0,
    True,
]
FAMILIES = [0, socket.AF_INET, socket.AF_INET6]
TYPES = [0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET]
PROTOS = [0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP]
FLAGS = [
    0,
    socket.AI_PASSIVE,
    socket.AI_NUMERICHOST,
    socket.AI_NUMERICSERV,
    socket.AI_PASSIVE | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    socket.AI_CANONNAME,
    socket.AI_ADDRCONFIG,
    socket.AI_V4MAPPED,
    socket.AI_V4MAPPED | socket.AI_ALL,
]


def described(rows):
    """Show an answer with the types of everything in it."""
    return [[(type(x), x) for x in row] + [type(x) for x in row[4]] for row in rows]


def asked(host, port, family, kind, proto, flags):
    """Return what libc says, or its error as type and text."""
    try:
        return described(socket.getaddrinfo(host, port, family, kind, proto, flags))
    except Exception as error:
        return type(error), str(error)


def differences(loop, questions):
    """Return the questions that the loop answers otherwise than libc."""

    async def main():
        found = []
        for q in questions:
            host, port, family, kind, proto, flags = q
            try:
                got = described(
                    await loop.getaddrinfo(
                        host, port, family=family, type=kind, proto=proto, flags=flags
                    )
                )
            except Exception as error:
                got = type(error), str(error)
            if got != asked(*q):
                found.append((q, got, asked(*q)))
        return found

    return loop.run_until_complete(main())


@pytest.fixture
def no_thread(monkeypatch):
    """Make asking libc from another thread an error that names it."""
    real = threading.Thread.start

    def start(self):
        if self.name.startswith("asyncio_"):
            raise AssertionError("an executor was started")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)


class AtOnce:
    """An executor's ``submit`` for the grids: calls in the loop's own thread."""

    @staticmethod
    async def run_in_executor(executor, func, *args):
        return func(*args)


@pytest.fixture
def grid_loop(loop, loop_class, monkeypatch):
    """Return a loop that asks libc, where it does, without the price of a thread."""
    # What stands in for the executor must not look like an override of it.
    namespace = inspect.getmodule(loop_class)
    if hasattr(namespace, "_run_in_executor"):
        monkeypatch.setattr(namespace, "_run_in_executor", None)
    loop.run_in_executor = AtOnce.run_in_executor
    return loop


def test_literal_addresses_are_answered_as_libc_does(grid_loop):
    grid = itertools.product(HOSTS, PORTS, FAMILIES, TYPES, PROTOS, FLAGS)
    assert differences(grid_loop, grid) == []


def test_odd_hosts_are_answered_as_libc_does(grid_loop):
    flags = socket.AI_NUMERICHOST  # or libc would look for names in the network
    flags = [flags, flags | socket.AI_PASSIVE]
    grid = itertools.product(ODD_HOSTS, [80, None], FAMILIES, TYPES[:3], PROTOS[:3], flags)
    assert differences(grid_loop, grid) == []


@pytest.mark.parametrize("host", [*ODD_HOSTS, "localhost", "a.example"])
def test_odd_hosts_are_left_to_libc(loop, monkeypatch, host):
    asked_for = []

    def submit(func, *args):
        asked_for.append(args)
        raise LookupError

    executor = concurrent.futures.ThreadPoolExecutor(1)
    monkeypatch.setattr(executor, "submit", submit)
    loop.set_default_executor(executor)
    with pytest.raises(LookupError):
        loop.run_until_complete(loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM))
    assert asked_for == [(host, 80, 0, socket.SOCK_STREAM, 0, 0)]


def test_odd_ports_are_answered_as_libc_does(grid_loop):
    grid = itertools.product(HOSTS[:5], ODD_PORTS, FAMILIES, TYPES[:3], PROTOS[:3], FLAGS[:5])
    assert differences(grid_loop, grid) == []


@pytest.mark.parametrize("place", range(2, 6))
@pytest.mark.parametrize("value", [None, "1", 1.0, 10**30, -1, 99, 2**31, True])
def test_odd_numbers_are_answered_as_libc_does(grid_loop, place, value):
    question = ["127.0.0.1", 80, 0, socket.SOCK_STREAM, 0, 0]
    question[place] = value
    assert differences(grid_loop, [question]) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", b"::1"])
@pytest.mark.parametrize("port", [80, "80", None])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.ours("asyncio asks in a thread")
def test_literal_addresses_need_no_thread(loop, no_thread, host, port, kind):
    rows = loop.run_until_complete(loop.getaddrinfo(host, port, type=kind))
    assert described(rows) == asked(host, port, 0, kind, 0, 0)


def test_getaddrinfo_is_a_coroutine_function_with_stocks_signature(loop):
    stock = asyncio.BaseEventLoop.getaddrinfo
    assert inspect.iscoroutinefunction(loop.getaddrinfo)
    ours = inspect.signature(type(loop).getaddrinfo).parameters
    theirs = inspect.signature(stock).parameters
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def test_asking_lets_others_run(loop):
    order = []

    async def main():
        loop.call_soon(order.append, "other")
        await loop.getaddrinfo("127.0.0.1", 80)
        order.append("answer")

    loop.run_until_complete(main())
    assert order == ["other", "answer"]


def test_a_cancelled_task_gets_no_answer(loop):
    async def main():
        asyncio.current_task().cancel()
        return await loop.getaddrinfo("127.0.0.1", 80)

    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(main())


def test_debug_mode_logs_as_stock_does(same_outcome, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")

    def action(loop):
        caplog.clear()
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
        return [re.sub(r"\d\.\d+ms", "", record.getMessage()) for record in caplog.records[-2:]]

    first, second = same_outcome(action, debug=True)
    assert first.startswith("Get address info 127.0.0.1:80")
    assert second.startswith("Getting address info 127.0.0.1:80")


def test_a_closed_loop_does_not_answer(same_error):
    def action(loop):
        asking = loop.getaddrinfo("127.0.0.1", 80)
        loop.close()
        asking.send(None)

    assert same_error(action) is RuntimeError


def test_a_loop_without_executor_any_more_does_not_answer(same_error):
    def action(loop):
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))

    assert same_error(action) is RuntimeError


def test_a_replaced_socket_getaddrinfo_is_asked(loop, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: ["mine", *args])
    rows = loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    assert rows == ["mine", "127.0.0.1", 80, 0, 0, 0, 0]


@pytest.mark.ours("asyncio captures nothing at its import")
def test_a_socket_getaddrinfo_replaced_before_the_import_is_asked(child):
    code = """
    import sys, socket
    socket.getaddrinfo = lambda *args: "mine"
    import asyncio, casyncio
    loop = casyncio.new_event_loop()
    print(loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80)))
    """
    script = child.folder / "replaced.py"
    script.write_text(inspect.cleandoc(code))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=child.env)
    assert (done.stdout, done.stderr) == ("mine\n", "")


@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_replaced_run_in_executor_is_used(loop_class, make_loop, where):
    asked_for = []

    async def instead(func, *args):
        asked_for.append(args)
        return "mine"

    class Other(loop_class):
        if where == "class":

            def run_in_executor(self, executor, func, *args):
                return instead(func, *args)

    loop = make_loop(Other)
    if where == "instance":
        loop.run_in_executor = lambda executor, func, *args: instead(func, *args)
    assert loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80)) == "mine"
    assert asked_for == [("127.0.0.1", 80, 0, 0, 0, 0)]


@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_replaced_getaddrinfo_serves_create_connection(loop_class, make_loop, where):
    asked_for = []
    listener = socket.create_server(("127.0.0.1", 0))

    async def answer(host, port, **how):
        asked_for.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]

    class Other(loop_class):
        if where == "class":

            async def getaddrinfo(self, host, port, **how):
                return await answer(host, port, **how)

    loop = make_loop(Other)
    if where == "instance":
        loop.getaddrinfo = answer

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", "nowhere")
        peer = transport.get_extra_info("peername")
        transport.abort()
        await asyncio.sleep(0)
        return peer

    with listener:
        assert loop.run_until_complete(main()) == listener.getsockname()
    assert asked_for == [("127.0.0.1", "nowhere")]


def test_an_audit_hook_hears_of_a_literal_address(child):
    code = """
    import sys
    heard = []
    sys.addaudithook(lambda event, args: heard.append((event, args)))
    loop = new_loop()
    loop.run_until_complete(loop.getaddrinfo("127.0.0.1", "80", type=1, proto=6))
    print([args for event, args in heard if event == "socket.getaddrinfo"])
    loop.close()
    """
    assert child.ok(code) == "[('127.0.0.1', '80', 0, 1, 6)]\n"


def test_an_audit_hook_can_refuse_a_literal_address(child):
    code = """
    import sys
    def refuse(event, args):
        if event == "socket.getaddrinfo":
            raise PermissionError("no")
    sys.addaudithook(refuse)
    loop = new_loop()
    try:
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    except PermissionError as error:
        print(error)
    loop.close()
    """
    assert child.ok(code) == "no\n"


NAMED = {
    "numbers": (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    "of IPv6": (("::1", 443, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    "a service of datagrams": (("127.0.0.1", 53), socket.NI_NUMERICHOST | socket.NI_DGRAM),
    "what is no address": (("not.an.address.invalid", 80), socket.NI_NUMERICHOST),
    "nothing": ((), 0),
}


@pytest.mark.parametrize("address, flags", NAMED.values(), ids=NAMED)
def test_getnameinfo_answers_as_asyncios_does(same_outcome, address, flags):
    same_outcome(lambda loop: loop.run_until_complete(loop.getnameinfo(address, flags)))
