"""Fetch every page that is linked from page 0 of a site, with aiohttp's client.

Knows nothing of any particular loop.  Prints one JSON line with what it found.
"""

import asyncio
import hashlib
import json
import sys

import aiohttp

WORKERS = 32


async def crawl(session, base):
    """Return every page's links; each page is fetched once."""
    queue, found = asyncio.Queue(), {0: None}
    queue.put_nowait(0)

    async def worker():
        while True:
            page = await queue.get()
            async with session.get(f"{base}/{page}") as response:
                assert response.status == 200
                data = await response.json()
            seed = hashlib.sha256(str(page).encode()).hexdigest()
            assert data["page"] == page and data["fill"] == seed * (page % 1000)
            found[page] = data["links"]
            for link in data["links"]:
                if link not in found:
                    found[link] = None
                    queue.put_nowait(link)
            queue.task_done()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(worker()) for _ in range(WORKERS)]
        joined = asyncio.create_task(queue.join())
        await asyncio.wait([joined, *workers], return_when=asyncio.FIRST_COMPLETED)
        for task in (joined, *workers):
            task.cancel()
    return found


async def main():
    """Crawl, and tell what was found."""
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=WORKERS)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        found = await crawl(session, sys.argv[1])
    loop_type = f"{type(loop).__module__}.{type(loop).__name__}"
    print(json.dumps({"pages": sorted(found), "loop": loop_type}))


if __name__ == "__main__":
    asyncio.run(main())
