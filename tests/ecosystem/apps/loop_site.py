"""Applications that answer with the type of their loop and their process, for ASGI and aiohttp."""

import asyncio
import os


def answer():
    """Say who answers."""
    loop = asyncio.get_running_loop()
    return f"{type(loop).__module__}.{type(loop).__qualname__} {os.getpid()}"


async def asgi(scope, receive, send):
    """Answer any HTTP request; there is nothing to start or stop."""
    assert scope["type"] == "http"
    body = answer().encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def aiohttp_factory():
    """Return an aiohttp application."""
    from aiohttp import web

    async def handler(request):
        return web.Response(text=answer(), headers={"Connection": "close"})

    app = web.Application()
    app.router.add_get("/", handler)
    return app
