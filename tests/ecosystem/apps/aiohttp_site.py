"""A site of linked pages on aiohttp's server; counts how often each page is fetched.

Knows nothing of any particular loop.  Prints one JSON line when it serves and one when SIGTERM
has ended it.
"""

import asyncio
import collections
import hashlib
import json
import signal
import sys

from aiohttp import web

PAGES = int(sys.argv[1])
hits = collections.Counter()


def links(page):
    """Return the pages that a page links to; every page is reached from page 0."""
    return [n for n in (2 * page + 1, 2 * page + 2, (page * 7 + 3) % PAGES) if n < PAGES]


def body(page):
    """Return the text of a page: its links, and filling of up to 60 kB that can be checked."""
    seed = hashlib.sha256(str(page).encode()).hexdigest()
    return json.dumps({"page": page, "links": links(page), "fill": seed * (page % 1000)})


async def get_page(request):
    """Answer with a page, some of them late."""
    page = int(request.match_info["page"])
    hits[page] += 1
    if page % 10 == 3:
        await asyncio.sleep(0.01)
    return web.Response(text=body(page), content_type="application/json")


async def main():
    """Serve until SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application()
    app.add_routes([web.get("/{page:\\d+}", get_page)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    loop_type = f"{type(loop).__module__}.{type(loop).__name__}"
    print(json.dumps({"port": port, "loop": loop_type}), flush=True)
    await stop.wait()
    await runner.cleanup()
    print(json.dumps({"hits": sorted(hits.items())}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
