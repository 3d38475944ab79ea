"""What OpenSSL can do and ``ssl`` does not offer, on the ``SSL*`` of its objects: for tests."""

import _ssl
import ctypes

import pytest

WORD = ctypes.sizeof(ctypes.c_void_p)
KEY_UPDATE_REQUESTED, KEY_UPDATE_NONE = 1, -1
GET_NUM_RENEGOTIATIONS = 10  # SSL_CTRL_...


def _library():
    file = getattr(_ssl, "__file__", None)
    try:
        found = ctypes.CDLL(file) if file else None
        known = found is not None and found.SSL_key_update is not None
    except (AttributeError, OSError):
        known = False
    if not known:
        pytest.skip("the functions of this Python's OpenSSL cannot be reached")
    found.SSL_get_SSL_CTX.restype = ctypes.c_void_p
    return found


class Library:
    """OpenSSL, for the ``SSL*`` inside an SSLObject or SSLSocket."""

    def __init__(self, sslobj):
        self.owner = sslobj._sslobj
        self.lib = _library()
        self.ssl = ctypes.c_void_p(self.find(sslobj.context))

    def find(self, context):
        """Return the word before the pointer to the context, if the context owns it."""
        ctx = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
        words = (ctypes.c_void_p * (type(self.owner).__basicsize__ // WORD)).from_address(
            id(self.owner)
        )
        for found, following in zip(words[2:], words[3:], strict=False):
            if found and following == id(context):
                if self.lib.SSL_get_SSL_CTX(ctypes.c_void_p(found)) == ctx:
                    return found
        pytest.skip("the SSL* of this Python's objects was not found")

    def update_key(self):
        """Let the next write begin with new keys, and ask the peer for the same."""
        assert self.lib.SSL_key_update(self.ssl, KEY_UPDATE_REQUESTED) == 1

    def key_update_waits(self):
        """Return whether one is still to be sent."""
        return self.lib.SSL_get_key_update_type(self.ssl) != KEY_UPDATE_NONE

    def renegotiate(self):
        """Let the next write or read begin another handshake."""
        assert self.lib.SSL_renegotiate(self.ssl) == 1

    def renegotiations(self):
        """Return how often that was done."""
        return self.lib.SSL_ctrl(self.ssl, GET_NUM_RENEGOTIATIONS, ctypes.c_long(0), None)
