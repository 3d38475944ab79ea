"""Certificates, contexts, and peers that are no event loops: for tests of TLS."""

import contextlib
import functools
import socket
import ssl
import threading

import pytest

# The reason of an SSLError for a record that is not genuine.
BROKEN_RECORD = (
    "RECORD_LAYER_FAILURE"
    if ssl.OPENSSL_VERSION_INFO >= (3, 2)
    else "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
)


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


def shake_hands(sock, context, **options):
    """Shake hands over a blocking socket, by hand; return the SSLObject and its two BIOs.

    What is left in the second, the end of the handshake, may leave together with data.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = context.wrap_bio(incoming, outgoing, **options)
    while True:
        try:
            sslobj.do_handshake()
            return sslobj, incoming, outgoing
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))


# For programs in processes of their own: TLS without a certificate.
ANONYMOUS = """
import ssl

def anonymous(kind):
    context = ssl.SSLContext(kind)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
    return context
"""


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
