"""An aiohttp server and an aiohttp crawler, unchanged programs, run on casyncio."""

import json
import pathlib

APPS = pathlib.Path(__file__).parent / "apps"
PAGES = 400
LOOP = "casyncio._loop.Loop"


def test_a_crawler_fetches_every_page_once_from_a_server(serve, run_python, backend):
    casyncio = ["-m", "casyncio", "--backend", backend]
    server = serve([*casyncio, APPS / "aiohttp_site.py", PAGES], env={})
    started = json.loads(server.expect(r"^\{.*\}$")[0])
    assert started["loop"] == LOOP

    url = f"http://127.0.0.1:{started['port']}"
    crawler = run_python([*casyncio, APPS / "aiohttp_crawler.py", url], timeout=60)
    assert crawler.returncode == 0, crawler.stderr
    found = json.loads(crawler.stdout)
    assert found["loop"] == LOOP
    assert found["pages"] == list(range(PAGES))

    assert server.stop() == 0
    hits = json.loads(server.expect(r"^\{.*\}$")[0])["hits"]
    assert hits == [[page, 1] for page in range(PAGES)]
