"""How the clients of databases tell what they saw: the loop, each check's result, what is left."""

import asyncio
import gc
import json
import os


def open_descriptors():
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


async def tell(client, checks):
    """Run the client's checks, one after another, and print one JSON line.

    What is opened once, by the first of them, is open when counting begins.
    """
    results, reports = {}, []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    await getattr(client, checks[0])()
    before = open_descriptors()
    for name in checks:
        results[name] = await getattr(client, name)()
    gc.collect()
    for _ in range(100):
        if open_descriptors() <= before:
            break
        await asyncio.sleep(0.05)
    results["descriptors left"] = open_descriptors() - before
    results["reports"] = reports
    loop_type = f"{type(loop).__module__}.{type(loop).__qualname__}"
    print(json.dumps({"loop": loop_type, "results": results}))
