"""aiohttp's client and server on one loop (needs aiohttp)."""

import asyncio
import contextlib

from _harness import case, need, program, raises, timed, timed_case


@contextlib.asynccontextmanager
async def site():
    web = need("aiohttp.web")

    async def get_page(req):
        return web.json_response({"path": req.path})

    async def delay(req):
        await asyncio.sleep(float(req.match_info["d"]))
        return web.Response(text="late")

    async def ws(req):
        sock = web.WebSocketResponse()
        await sock.prepare(req)
        async for m in sock:
            await sock.send_str("echo " + m.data)
        return sock

    app = web.Application()
    app.add_routes(
        [
            web.get("/get", get_page),
            web.get("/headers", get_page),
            web.get("/delay/{d}", delay),
            web.get("/ws", ws),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    s = web.TCPSite(runner, "127.0.0.1", 0)
    await s.start()
    try:
        yield f"http://127.0.0.1:{s._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@timed_case(
    "aiohttp.three_urls",
    (
        "ClientSession, session.get, response.text for three addresses as tasks: gathered in "
        "order, in about the time of one (0.3 s)"
    ),
)
def _():
    aiohttp = need("aiohttp")

    async def fetch(session, url):
        async with session.get(url) as resp:
            assert resp.status == 200
            await asyncio.sleep(0.3)
            text = await resp.text()
            return f"{url.rsplit('/', 1)[1]} {len(text)}"

    async def main():
        async with site() as base, aiohttp.ClientSession() as session:
            ts = [
                asyncio.create_task(fetch(session, base + p))
                for p in ("/get", "/delay/0.05", "/headers")
            ]
            assert await asyncio.gather(*ts) == ["get 16", "0.05 4", "headers 20"]

    timed(main, 0.29, 0.56)


@case("aiohttp.timeout", "ClientTimeout and wait_for end a slow request with TimeoutError")
async def _():
    aiohttp = need("aiohttp")
    async with site() as base, aiohttp.ClientSession() as session:
        with raises(asyncio.TimeoutError):
            async with session.get(base + "/delay/5", timeout=aiohttp.ClientTimeout(total=0.05)):
                pass
        with raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.get(base + "/delay/5"), 0.05)
        async with session.get(base + "/get") as r:
            assert (await r.json())["path"] == "/get"


@case("aiohttp.websocket", "WebSocket messages both ways, 20 sockets side by side")
async def _():
    aiohttp = need("aiohttp")
    async with site() as base, aiohttp.ClientSession() as session:

        async def talk(i):
            async with session.ws_connect(base + "/ws") as ws:
                for k in range(10):
                    await ws.send_str(f"{i}.{k}")
                    assert (await ws.receive_str()) == f"echo {i}.{k}"

        await asyncio.gather(*[talk(i) for i in range(20)])


@case("aiohttp.many", "300 requests over one session with a connection limit")
async def _():
    aiohttp = need("aiohttp")
    async with (
        site() as base,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session,
    ):

        async def one():
            async with session.get(base + "/get") as r:
                return (await r.json())["path"]

        assert await asyncio.gather(*[one() for _ in range(300)]) == ["/get"] * 300


program(__name__)
