"""A server of TLS by hand, which decides how its records lie on the wire."""

import random
import socket
import ssl
import struct

from tls_peers import server_context

GREETINGS = 20
SIZES = (1, 479, 480, 481, 1000, 1000, 1001, 16383, 16384, 16385, 40_000, 300_000)


def messages(seed=0):
    """Return messages of those sizes and of others, each with content of its own."""
    chance = random.Random(seed)
    sizes = [*SIZES, *(chance.randrange(1, 20_000) for _ in range(20))]
    chance.shuffle(sizes)
    return [chance.randbytes(size) for size in sizes]


def shake(sock, context):
    """Shake hands as a server by hand; return the SSLObject and its two BIOs."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            sslobj.do_handshake()
            sock.sendall(outgoing.read())
            return sslobj, incoming, outgoing
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))


class Wire:
    """A server by hand, whose client has answered that many small messages, one by one."""

    def __init__(self, sock):
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sslobj, self.incoming, self.outgoing = shake(sock, server_context())
        for i in range(GREETINGS):
            greeting = bytes([i]) * 700
            self.send(greeting)
            assert self.read(len(greeting)) == greeting

    def records(self, *messages):
        for message in messages:
            self.sslobj.write(message)
        return self.outgoing.read()

    def send(self, *messages):
        self.sock.sendall(self.records(*messages))

    def read(self, nbytes):
        data = b""
        while len(data) < nbytes:
            try:
                data += self.sslobj.read(nbytes - len(data))
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())  # of a handshake
                self.incoming.write(self.sock.recv(65536))
        return data

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
