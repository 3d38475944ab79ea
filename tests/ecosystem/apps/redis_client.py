"""What programs do with Redis by redis-py, on whatever loop; prints one JSON line.

Knows nothing of any particular loop: ``redis_client.py PORT SOCKET``.  Every result is told, none
judged: the test compares loops.
"""

import asyncio
import os
import sys

import redis.asyncio as redis
import told

WORKERS, ROUNDS, COMMANDS = 12, 50, 2000


class Client:
    """The checks, on one server."""

    def __init__(self, port, path):
        self.port, self.path = int(port), path

    def connect(self, **kwargs):
        """A client with its own pool of connections."""
        return redis.Redis(host="127.0.0.1", port=self.port, **kwargs)

    async def values(self):
        """Values there and back, one of a mebibyte, over TCP and over the UNIX socket."""
        block = os.urandom(1 << 20)
        async with self.connect() as client, redis.Redis(unix_socket_path=self.path) as local:
            await client.set("block", block)
            return [await client.get("block") == block, await local.get("block") == block]

    async def pool(self):
        """Many workers count through a small pool."""
        pool = redis.BlockingConnectionPool(
            host="127.0.0.1", port=self.port, max_connections=4, timeout=30
        )
        async with redis.Redis(connection_pool=pool) as client:
            await client.delete("counter")

            async def worker():
                for _ in range(ROUNDS):
                    await client.incr("counter")

            await asyncio.gather(*[worker() for _ in range(WORKERS)])
            count = int(await client.get("counter"))
        await pool.aclose()
        return count

    async def pipeline(self):
        """Many commands in one batch; the answers come in order."""
        async with self.connect() as client, client.pipeline(transaction=False) as batch:
            for n in range(COMMANDS):
                batch.echo(str(n))
            return [int(word) for word in await batch.execute()] == list(range(COMMANDS))

    async def published(self):
        """A subscriber hears all that is published, in order."""
        async with self.connect() as client, client.pubsub() as ears:
            await ears.subscribe("news")
            heard = []
            for n in range(20):
                await client.publish("news", n)
            while len(heard) < 20:
                message = await ears.get_message(ignore_subscribe_messages=True, timeout=30)
                if message is not None:
                    heard.append(int(message["data"]))
            quiet = await ears.get_message(timeout=0.05)
        return [heard, quiet]

    async def queue(self):
        """Consumers wait in the server for what a producer pushes."""
        async with self.connect() as client:
            await client.delete("queue")
            waiting = [asyncio.create_task(client.blpop("queue", 30)) for _ in range(5)]
            await asyncio.sleep(0.05)
            for n in range(5):
                await client.rpush("queue", n)
            return sorted(int(item) for _, item in await asyncio.gather(*waiting))

    async def given_up(self):
        """A wait in the server is cancelled; the client goes on with right answers."""
        said = []
        async with self.connect() as client:
            task = asyncio.create_task(client.blpop("never", 60))
            await asyncio.sleep(0.05)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                said.append("cancelled")
            said.append((await client.echo("still here")).decode())
        async with self.connect(socket_timeout=0.1, retry=None) as client:
            try:
                await client.blpop("never", 60)
            except redis.TimeoutError as error:
                said.append(type(error).__name__)
        return said

    async def killed(self):
        """The server drops a connection; the next command makes another one."""
        async with self.connect(single_connection_client=True) as client, self.connect() as killer:
            number = await client.client_id()
            task = asyncio.create_task(client.blpop("never", 60))
            await asyncio.sleep(0.05)
            await killer.client_kill_filter(_id=number)
            try:
                said = await asyncio.wait_for(task, 1)
            except (redis.ConnectionError, TimeoutError) as error:
                said = type(error).__name__
            return [said, await killer.ping()]


CHECKS = ["values", "pool", "pipeline", "published", "queue", "given_up", "killed"]


if __name__ == "__main__":
    asyncio.run(told.tell(Client(*sys.argv[1:]), CHECKS))
