"""Certificates, contexts, and peers that are no event loops: for tests of TLS."""

import contextlib
import functools
import socket
import ssl
import threading

import pytest


@functools.cache
def _authority():
    trustme = pytest.importorskip("trustme", reason="trustme makes the certificates of these tests")
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost"), authority.issue_cert("client.example")


def server_context(**options):
    """Return a context for servers called localhost."""
    authority, cert, _ = _authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    if options.pop("client_cert", False):
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


def client_context(*, trust=True, client_cert=False, **options):
    """Return a context for clients, which trusts those servers."""
    authority, _, cert = _authority()
    context = ssl.create_default_context()
    if trust:
        authority.configure_trust(context)
    if client_cert:
        cert.configure_cert(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


@contextlib.contextmanager
def peer(handle, *, timeout=30):
    """Run handle(socket) in a thread for one connection; gives the address to connect to.

    What it raises is raised here.
    """
    errors = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(timeout)

        def body():
            try:
                sock, _ = listener.accept()
                with sock:
                    sock.settimeout(timeout)
                    handle(sock)
            except BaseException as exc:
                errors.append(exc)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(timeout)
        assert not thread.is_alive(), "the peer did not end in time"
    if errors:
        raise errors[0]
