"""HTTP by hand over streams, plain and under TLS."""

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile

from _harness import Skip, case, program, raises, timed, timed_case


async def handle(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if path.startswith("/delay/"):
                await asyncio.sleep(float(path[7:]))
            body = f"data of {path}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def get(port, path, **kw):
    r, w = await asyncio.open_connection("127.0.0.1", port, **kw)
    w.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await r.readuntil(b"\r\n\r\n")).decode()
    n = int(head.lower().split("content-length:")[1].split()[0])
    body = (await r.readexactly(n)).decode()
    w.close()
    await w.wait_closed()
    return head.split()[1], body


@timed_case(
    "http.three_at_once",
    (
        "three requests of 0.25 s each, made as tasks and gathered, take about 0.25 s; results "
        "in the order asked"
    ),
)
def _():
    async def main():
        s = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = s.sockets[0].getsockname()[1]
        ts = [asyncio.create_task(get(port, f"/delay/{d}")) for d in ("0.25", "0.24", "0.23")]
        assert await asyncio.gather(*ts) == [
            ("200", f"data of /delay/{d}") for d in ("0.25", "0.24", "0.23")
        ]
        s.close()

    timed(main, 0.24, 0.40)


@timed_case("http.one_by_one", "the same three one after another take the sum")
def _():
    async def main():
        s = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = s.sockets[0].getsockname()[1]
        for _ in range(3):
            assert (await get(port, "/delay/0.1"))[0] == "200"
        s.close()

    timed(main, 0.29, 0.48)


@case("http.many", "400 requests at once to one server, at most 50 in flight by Semaphore")
async def _():
    s = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    port, sem, now, top = s.sockets[0].getsockname()[1], asyncio.Semaphore(50), 0, 0

    async def one(i):
        nonlocal now, top
        async with sem:
            now += 1
            top = max(now, top)
            r = await get(port, f"/p{i}")
            now -= 1
            return r

    assert await asyncio.gather(*[one(i) for i in range(400)]) == [
        ("200", f"data of /p{i}") for i in range(400)
    ]
    assert top == 50
    s.close()


@case(
    "http.crawler",
    (
        "a crawler over a local site of linked pages visits each page once with 8 workers and a"
        " queue"
    ),
)
async def _():
    links = {f"/{i}": [f"/{(i * 2 + k) % 60}" for k in (1, 2, 3)] for i in range(60)}
    hits = []

    async def site(reader, writer):
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        hits.append(path)
        body = " ".join(links[path]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await reader.read()
        writer.close()

    s = await asyncio.start_server(site, "127.0.0.1", 0)
    port, q, seen = s.sockets[0].getsockname()[1], asyncio.Queue(), {"/0"}
    q.put_nowait("/0")

    async def worker():
        while True:
            path = await q.get()
            _, body = await get(port, path)
            for x in body.split():
                if x not in seen:
                    seen.add(x)
                    q.put_nowait(x)
            q.task_done()

    ws = [asyncio.create_task(worker()) for _ in range(8)]
    await asyncio.wait_for(q.join(), 20)
    for w in ws:
        w.cancel()
    await asyncio.gather(*ws, return_exceptions=True)
    assert sorted(hits) == sorted(seen) and len(seen) == 60, len(seen)
    s.close()


@case(
    "http.tls",
    (
        "https: TLS server and clients on loopback, certificate checked; a client that does not"
        " trust it gets SSLCertVerificationError; 1 MiB body arrives whole"
    ),
)
async def _():
    if not shutil.which("openssl"):
        raise Skip("no openssl program to make a certificate")
    with tempfile.TemporaryDirectory() as d:
        key, crt = os.path.join(d, "k.pem"), os.path.join(d, "c.pem")
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-keyout",
                key,
                "-out",
                crt,
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ],
            check=True,
            capture_output=True,
        )
        sctx = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        sctx.load_cert_chain(crt, key)
        cctx = ssl.create_default_context(cafile=crt)
        cctx.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)

    async def big(reader, writer):
        await reader.readline()
        writer.write(b"z" * (1 << 20))
        await writer.drain()
        writer.close()

    s = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=sctx)
    port = s.sockets[0].getsockname()[1]
    rs = await asyncio.gather(
        *[get(port, f"/t{i}", ssl=cctx, server_hostname="localhost") for i in range(20)]
    )
    assert rs == [("200", f"data of /t{i}") for i in range(20)]
    asyncio.get_running_loop().set_exception_handler(lambda *a: None)
    with raises(ssl.SSLCertVerificationError):
        await get(port, "/", ssl=ssl.create_default_context(), server_hostname="localhost")
    s.close()
    s = await asyncio.start_server(big, "127.0.0.1", 0, ssl=sctx)
    r, w = await asyncio.open_connection(
        "127.0.0.1", s.sockets[0].getsockname()[1], ssl=cctx, server_hostname="localhost"
    )
    w.write(b"go\n")
    assert len(await r.readexactly(1 << 20)) == 1 << 20 and w.get_extra_info("ssl_object").version()
    w.close()
    s.close()


program(__name__)
