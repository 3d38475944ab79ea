"""A Dask client: has the cluster at the address compute, and tells which loops took part."""

import asyncio
import json
import sys

from distributed import Client

import casyncio


def name(loop):
    """The full name of a loop's type."""
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def loop_of_scheduler(dask_scheduler=None):
    """Run by the scheduler."""
    return name(dask_scheduler.loop.asyncio_loop)


def loop_of_worker(dask_worker=None):
    """Run by each worker."""
    return name(dask_worker.loop.asyncio_loop)


async def main(address, workers):
    """Compute something that needs several workers and data that move between them."""
    async with Client(address, asynchronous=True) as client:
        await client.wait_for_workers(workers, timeout=60)
        squares = client.map(lambda n: n * n, range(200))
        total = await client.submit(sum, squares)
        scattered = await client.scatter([b"x" * 300_000] * 4, broadcast=True)
        sizes = await client.gather(client.map(len, scattered))
        loops = {
            "client": name(asyncio.get_running_loop()),
            "scheduler": await client.run_on_scheduler(loop_of_scheduler),
            "workers": sorted((await client.run(loop_of_worker)).values()),
        }
        print(json.dumps({"total": total, "bytes": sum(sizes), "loops": loops}))


if __name__ == "__main__":
    casyncio.run(main(sys.argv[1], int(sys.argv[2])))
