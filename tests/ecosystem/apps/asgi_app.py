"""An ASGI application for uvicorn: echoes, waits, tells on which loop it runs."""

import asyncio
import hashlib
import json

state = {"requests": 0}


async def lifespan(receive, send):
    """Say when the application starts and when it stops."""
    assert (await receive())["type"] == "lifespan.startup"
    loop = asyncio.get_running_loop()
    state["loop"] = f"{type(loop).__module__}.{type(loop).__name__}"
    state["backend"] = getattr(loop, "backend", None)
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await asyncio.sleep(0.01)
    print(json.dumps(state), flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def read_body(receive):
    """Return the whole body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def app(scope, receive, send):
    """Answer ``/slow`` late and anything else with the digest of path and body."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    assert scope["type"] == "http"
    state["requests"] += 1
    body = await read_body(receive)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    digest = hashlib.sha256(scope["path"].encode() + body).hexdigest().encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(digest))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": digest[:32], "more_body": True})
    await send({"type": "http.response.body", "body": digest[32:]})
