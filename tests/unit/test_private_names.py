"""Every private name of the standard library that casyncio leans on, by name.

When a Python renames one of them, this test says so before a user does.
"""

import asyncio
import inspect
import os
import socket
import types
import weakref
from asyncio import (
    base_events,
    events,
    format_helpers,
    futures,
    selector_events,
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


def test_stock_asks_the_socket_module_that_base_events_has_imported():
    names = asyncio.BaseEventLoop.getaddrinfo.__code__.co_names
    assert base_events.socket is socket
    assert {"socket", "getaddrinfo", "run_in_executor", "_getaddrinfo_debug"} <= set(names)


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
        assert callable(getattr(_tls.Connection, name))
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
    assert type(clients.data) is set and type(clients._pending_removals) is list
    assert callable(clients._remove)
    names = [getattr(base_events.Server, name).__code__.co_names for name in ("_attach", "_detach")]
    assert names == [
        ("_sockets", "_clients", "add"),
        ("_clients", "discard", "len", "_sockets", "_wakeup"),
    ]
