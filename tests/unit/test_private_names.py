"""Every private name of the standard library that casyncio leans on, by name.

When a Python renames one of them, this test says so before a user does.
"""

import asyncio
import ctypes
import inspect
import os
import socket
import subprocess
import sys
import types
import weakref
from asyncio import (
    base_events,
    events,
    format_helpers,
    futures,
    selector_events,
    streams,
    tasks,
    unix_events,
)

import pytest

import casyncio

INHERITED = [
    "_asyncgen_finalizer_hook",
    "_asyncgen_firstiter_hook",
    "_check_callback",
    "_check_default_executor",
    "_check_running",
    "_check_signal",
    "_handle_signal",
    "_process_self_data",
    "_set_coroutine_origin_tracking",
]


@pytest.mark.parametrize("name", INHERITED)
def test_stock_loop_has_the_inherited_method(name):
    assert callable(getattr(asyncio.SelectorEventLoop, name))
    assert getattr(casyncio.Loop, name) is getattr(asyncio.SelectorEventLoop, name)


def test_modules_have_the_names_that_are_looked_up():
    assert base_events.BaseEventLoop and selector_events.BaseSelectorEventLoop
    assert callable(base_events._format_handle) and base_events.logger
    assert callable(format_helpers._format_callback_source)
    assert callable(format_helpers.extract_stack)
    assert callable(events._set_running_loop) and callable(events._get_running_loop)
    assert futures.Future and tasks.Task
    assert list(inspect.signature(futures._set_result_unless_cancelled).parameters) == [
        "fut",
        "result",
    ]
    if hasattr(asyncio, "eager_task_factory"):
        assert type(tasks._eager_tasks) is set


def test_stock_handle_describes_itself_through_repr_info():
    assert list(inspect.signature(events.Handle._repr_info).parameters) == ["self"]
    assert list(inspect.signature(events.TimerHandle._repr_info).parameters) == ["self"]


def test_default_policy_or_its_replacement_is_found():
    from casyncio import _policy

    stock = _policy._stock_policy_class()
    assert stock is not None and hasattr(stock, "_loop_factory")


def test_child_watcher_of_the_loop_exists_where_the_policy_has_none():
    if hasattr(unix_events, "_PidfdChildWatcher"):
        assert callable(unix_events.can_use_pidfd)
        assert unix_events._ThreadedChildWatcher
    else:
        assert hasattr(asyncio, "get_child_watcher")


def test_children_are_waited_for_by_stocks_names_where_it_has_a_thread_for_each():
    from casyncio import _children

    expected = not hasattr(unix_events, "can_use_pidfd") and hasattr(os, "pidfd_open")
    assert expected == _children.THREAD_PER_CHILD
    assert callable(unix_events._UnixSubprocessTransport)
    if _children.THREAD_PER_CHILD:
        watcher = unix_events.ThreadedChildWatcher()
        assert watcher._threads == {}
        assert list(inspect.signature(watcher._do_waitpid).parameters) == [
            "loop",
            "expected_pid",
            "callback",
            "args",
        ]


def test_asyncio_asks_for_its_child_watcher_as_expected_where_asking_warns():
    from casyncio import _children

    watchers = hasattr(unix_events, "can_use_pidfd") and hasattr(asyncio, "get_child_watcher")
    assert watchers == _children.ASKING_WARNS
    if watchers:
        names = asyncio.SelectorEventLoop._make_subprocess_transport.__code__.co_names
        assert {"catch_warnings", "get_child_watcher", "is_active", "add_child_handler"} <= {*names}
        assert "_watcher" in vars(asyncio.DefaultEventLoopPolicy())
        watcher = unix_events.PidfdChildWatcher()
        assert watcher.is_active() and watcher.__exit__(None, None, None) is None


def test_children_are_started_in_place_of_methods_that_subprocess_has():
    from casyncio import _hooks, _popen

    assert None not in _hooks.stock_starting and _popen._is_stock()
    assert "_cleanup" in subprocess.Popen.__init__.__code__.co_names
    assert "_start" in vars(unix_events._UnixSubprocessTransport)
    assert _popen.transport_class() is _popen._UnixSubprocessTransport


def test_stock_asks_the_socket_module_that_base_events_has_imported():
    names = asyncio.BaseEventLoop.getaddrinfo.__code__.co_names
    assert base_events.socket is socket
    assert {"socket", "getaddrinfo", "run_in_executor", "_getaddrinfo_debug"} <= set(names)


@pytest.mark.ours("it is about the inside of casyncio")
def test_methods_are_looked_up_without_being_bound():
    # Without it transport/reader_feed.c makes bound methods, which takes longer.
    assert ctypes.pythonapi._PyObject_GetMethod


def test_weak_value_dictionary_keeps_its_items_in_data(loop):
    assert type(loop._transports.data) is dict


@pytest.mark.ours("it is about the inside of casyncio")
def test_constructor_leaves_the_instance_without_attributes_of_its_own(loop):
    assert vars(loop) == {}


def test_sockets_count_their_users_in_slots_of_their_class():
    assert isinstance(socket.socket._io_refs, types.MemberDescriptorType)
    assert isinstance(socket.socket._closed, types.MemberDescriptorType)
    with socket.socket() as sock:
        sock._io_refs += 1
        sock.close()
        assert sock.fileno() >= 0
        sock._decref_socketios()
        assert sock.fileno() == -1


@pytest.mark.ours("it is about the inside of casyncio")
def test_contexts_are_shared_between_handles(loop):
    """The self-test of the context's layout passes on this Python."""
    handles = [loop.call_soon(print) for _ in range(2)]
    import gc

    contexts = [[o for o in gc.get_referents(h) if type(o).__name__ == "Context"] for h in handles]
    assert contexts[0][0] is contexts[1][0]
    for handle in handles:
        handle.cancel()


def test_stock_datagram_transport_has_the_methods_that_are_borrowed():
    from casyncio import _datagrams

    stock = selector_events._SelectorDatagramTransport
    assert _datagrams.reason is None
    for name in (
        *_datagrams._BORROWED,
        *_datagrams._IN_CONTEXT,
        "_sendto_ready",
        "_read_ready",
        "sendto",
    ):
        assert callable(getattr(stock, name))
    assert callable(futures._set_result_unless_cancelled)
    assert asyncio.DatagramTransport.__basicsize__ == asyncio.BaseTransport.__basicsize__


def test_tls_is_made_of_stocks_state_machine():
    import ssl
    from asyncio import sslproto

    from casyncio import _tls

    for name in (*_tls.INHERITED, *_tls.REPLACED):
        assert callable(getattr(sslproto.SSLProtocol, name))
        assert callable(getattr(_tls.SSLProtocol, name))
    assert [state.name for state in sslproto.SSLProtocolState] == list(_tls._STATES)
    assert ssl.SSLWantReadError in sslproto.SSLAgainErrors
    assert issubclass(sslproto._SSLProtocolTransport, asyncio.Transport)


def test_the_ssl_object_is_where_native_tls_looks_for_it():
    import ssl

    from casyncio import _tls

    if not ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        pytest.skip(f"{ssl.OPENSSL_VERSION} is not driven natively")
    import _ssl

    if not hasattr(_ssl, "__file__"):
        pytest.skip("_ssl is built into this interpreter, which hides OpenSSL's functions")
    assert _tls._find_native() is None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sslobj = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    assert type(sslobj) is ssl.SSLObject and type(sslobj._sslobj) is _ssl._SSLSocket


@pytest.mark.skipif(
    len(inspect.signature(base_events.Server._attach).parameters) < 2,
    reason="servers know their connections from 3.13 on",
)
def test_a_server_keeps_its_connections_in_a_weak_set_of_the_known_kind(loop):
    """Else ``_attach()`` and ``_detach()`` are called for every connection."""
    server = base_events.Server(loop, [], None, None, 0, None, None)
    clients = server._clients
    assert type(clients) is weakref.WeakSet and server._sockets == []
    assert type(clients.data) is set and callable(clients._remove)
    names = [getattr(base_events.Server, name).__code__.co_names for name in ("_attach", "_detach")]
    assert names == [
        ("_sockets", "_clients", "add"),
        ("_clients", "discard", "len", "_sockets", "_wakeup"),
    ]


def codes_of(function):
    """Return the code of a function and of those that are made in it."""
    inner = [code for code in function.__code__.co_consts if isinstance(code, types.CodeType)]
    return [function.__code__, *inner]


@pytest.mark.parametrize(
    ("name", "uses"),
    [
        ("open_connection", {"StreamReader", "StreamReaderProtocol", "StreamWriter"}),
        ("open_unix_connection", {"StreamReader", "StreamReaderProtocol", "StreamWriter"}),
        ("start_server", {"StreamReader", "StreamReaderProtocol"}),
        ("start_unix_server", {"StreamReader", "StreamReaderProtocol"}),
    ],
)
def test_functions_of_streams_look_up_their_classes_as_globals(name, uses):
    from casyncio import _streams

    codes = codes_of(getattr(streams, name))
    assert uses <= {used for code in codes for used in code.co_names}
    assert codes[0].co_freevars == ()
    assert getattr(_streams, name).__globals__["StreamReader"] is casyncio.StreamReader


def test_a_servers_task_gets_the_callback_that_is_known():
    from casyncio import _streams

    made = asyncio.StreamReaderProtocol.connection_made
    (code,) = [code for code in codes_of(made) if code.co_name == "callback"]
    assert {*code.co_freevars} == {"self", "transport"}
    assert {"_loop", "close", "exception"} <= {*code.co_names} <= _streams._CALLBACK_NAMES
    assert {"StreamWriter", "coroutines", "iscoroutine", "create_task"} <= {*made.__code__.co_names}
    assert _streams._callback_code is code


@pytest.mark.parametrize("change", ["another callback", "another question"])
def test_another_way_to_serve_is_left_to_stock(monkeypatch, change):
    from casyncio import _streams

    stock = asyncio.StreamReaderProtocol.connection_made
    code = stock.__code__
    if change == "another question":
        names = tuple("isawaitable" if n == "iscoroutine" else n for n in code.co_names)
        code = code.replace(co_names=names)
    else:
        (inner,) = [code for code in codes_of(stock) if code.co_name == "callback"]
        other = inner.replace(co_names=(*inner.co_names, "_task"))
        consts = tuple(other if const is inner else const for const in code.co_consts)
        code = code.replace(co_consts=consts)
    monkeypatch.setattr(
        asyncio.StreamReaderProtocol,
        "connection_made",
        types.FunctionType(code, vars(streams), "connection_made"),
    )
    assert _streams._find_callback_code() is None


READS = {
    "read": {"_exception", "_limit", "_buffer", "_eof", "_wait_for_data"},
    "readline": {"readuntil", "_buffer", "_maybe_resume_transport"},
    "readexactly": {"_exception", "_buffer", "_eof", "_wait_for_data"},
    "readuntil": {"_exception", "_buffer", "_limit", "_eof", "_wait_for_data"},
    "__anext__": {"readline"},
    "_wait_for_data": {"_waiter", "_eof", "_paused", "_transport", "resume_reading", "_loop"},
}
SIGNATURES = {
    "read": "(self, n=-1)",
    "readline": "(self)",
    "readexactly": "(self, n)",
    "readuntil": "(self, separator=b'\\n')",
    "__anext__": "(self)",
    "_wait_for_data": "(self, func_name)",
}


@pytest.mark.parametrize("name", READS)
def test_a_read_of_stock_has_the_known_form_and_names(name):
    read = getattr(asyncio.StreamReader, name)
    assert inspect.iscoroutinefunction(read)
    assert str(inspect.signature(read)) == SIGNATURES[name]
    assert READS[name] <= {*read.__code__.co_names}


@pytest.mark.parametrize(
    ("name", "uses"),
    [
        ("drain", {"_reader", "exception", "_transport", "is_closing", "sleep", "_protocol"}),
        ("wait_closed", {"_protocol", "_get_close_waiter"}),
    ],
)
def test_a_wait_of_stocks_writer_has_the_known_form_and_names(name, uses):
    wait = getattr(asyncio.StreamWriter, name)
    assert inspect.iscoroutinefunction(wait)
    assert str(inspect.signature(wait)) == "(self)"
    assert uses <= {*wait.__code__.co_names}
    assert callable(streams.FlowControlMixin._drain_helper)
    assert callable(asyncio.StreamReaderProtocol._get_close_waiter)


# From 3.14 on asyncio's tells call graphs who awaits its children, which ours does not.
GATHER_IS_KNOWN = not hasattr(asyncio, "future_add_to_awaited_by")


def test_combinators_of_stock_are_those_that_are_known():
    from asyncio import taskgroups, timeouts

    from casyncio import _combine

    stock = _combine._stock()
    known = {
        "_done_callback": stock["gather_callback"],
        "Timeout.__aenter__": stock["timeout_enter"],
        "Timeout._on_timeout": stock["timeout_expire"],
        "TaskGroup.__aenter__": stock["group_enter"],
    }
    assert known.keys() == _combine._KNOWN.keys()
    unknown = [name for name, code in known.items() if not _combine._is_known(name, code)]
    assert unknown == ([] if GATHER_IS_KNOWN else ["_done_callback"])
    assert issubclass(tasks._GatheringFuture, asyncio.Future)
    assert {"CREATED", "ENTERED", "EXPIRING", "EXPIRED", "EXITED"} == {*timeouts._State.__members__}
    assert callable(taskgroups.TaskGroup.__aexit__)
    by_timeouts = "timeouts" in tasks.wait_for.__code__.co_names
    assert by_timeouts == (sys.version_info >= (3, 12))


@pytest.mark.ours("it is about the inside of casyncio")
def test_combinators_are_native_wherever_they_are_known():
    if casyncio._stock_tasks_reason is not None:
        pytest.skip(f"no native tasks here: {casyncio._stock_tasks_reason}")
    names = ["timeout", "Timeout", "TaskGroup", *(["gather"] if GATHER_IS_KNOWN else [])]
    names += ["wait_for"] if sys.version_info >= (3, 12) else []
    assert [name for name in names if getattr(casyncio, name) is getattr(asyncio, name)] == []


def test_tls_finds_the_fields_that_it_shares_with_stock(loop):
    import ssl
    from asyncio import sslproto

    context = ssl.create_default_context()
    made = sslproto.SSLProtocol(
        loop,
        asyncio.Protocol(),
        context,
        None,
        server_hostname="localhost",
        ssl_handshake_timeout=9,
    )
    for name in (
        "_app_transport",
        "_app_transport_created",
        "_incoming",
        "_outgoing",
        "_ssl_buffer",
        "_sslobj",
        "_state",
        "_transport",
        "_write_backlog",
    ):
        assert hasattr(made, name)
    transport = sslproto._SSLProtocolTransport(loop, made)
    assert transport._ssl_protocol is made and transport._closed is False
    transport._closed = True  # else it warns
    assert selector_events._SelectorSocketTransport._start_tls_compatible is True
