"""One process of several that serve an ASGI application on one port: SO_REUSEPORT."""

import socket
import sys

import loop_site
import uvicorn

import casyncio


def listener(port):
    """Return a listening socket whose port other processes may listen on, too."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Server(uvicorn.Server):
    """Says its port once it serves."""

    async def startup(self, sockets=None):
        """Serve, then print the port."""
        await super().startup(sockets)
        print("port", sockets[0].getsockname()[1], flush=True)


config = uvicorn.Config(loop_site.asgi, lifespan="off", log_level="warning")
casyncio.run(Server(config).serve(sockets=[listener(int(sys.argv[1]))]))
