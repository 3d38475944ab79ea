"""What programs do with PostgreSQL by asyncpg, on whatever loop; prints one JSON line.

Knows nothing of any particular loop: ``postgres_client.py PORT SOCKET_FOLDER CERTIFICATE``, with a
server that lets anybody in.  Every result is told, none judged: the test compares loops.
"""

import asyncio
import contextlib
import hashlib
import ssl
import sys

import asyncpg
import told

WORKERS, ROUNDS, ROWS = 12, 25, 20_000
MEBIBYTE = 1 << 20


class Client:
    """The checks, on one server; connect() makes another connection to it."""

    def __init__(self, port, folder, certificate):
        self.port, self.folder, self.certificate = int(port), folder, certificate

    def where(self, **kwargs):
        """The arguments of a connection over TCP, without TLS unless told."""
        here = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "ssl": False}
        return here | {"database": "postgres"} | kwargs

    @contextlib.asynccontextmanager
    async def connect(self, **kwargs):
        """A connection for a while."""
        connection = await asyncpg.connect(**self.where(**kwargs))
        try:
            yield connection
        finally:
            await connection.close()

    async def values(self):
        """Values of many types there and back, one of a mebibyte."""
        block = hashlib.sha256(b"seed").digest() * (MEBIBYTE // 32)
        async with self.connect() as connection:
            row = await connection.fetchrow(
                "SELECT $1::int8 n, $2::text t, $3::bytea b, $4::float8[] f, $5::bool y",
                -(2**63),
                "\N{SNOWMAN}" * 1000,
                block,
                [0.5, -1e300],
                None,
            )
        assert row["b"] == block
        return [row["n"], row["t"] == "\N{SNOWMAN}" * 1000, row["f"], row["y"]]

    async def pool(self):
        """Many workers add to one row through a small pool; nothing may be lost."""
        async with asyncpg.create_pool(**self.where(), min_size=2, max_size=4) as pool:
            await pool.execute("DROP TABLE IF EXISTS counter")
            await pool.execute("CREATE TABLE counter (n int)")
            await pool.execute("INSERT INTO counter VALUES (0)")

            async def worker():
                for _ in range(ROUNDS):
                    async with pool.acquire() as connection, connection.transaction():
                        await connection.execute("UPDATE counter SET n = n + 1")

            await asyncio.gather(*[worker() for _ in range(WORKERS)])
            return await pool.fetchval("SELECT n FROM counter")

    async def cursor(self):
        """Rows of a cursor, in order, by iteration."""
        async with self.connect() as connection, connection.transaction():
            query = "SELECT generate_series(1, $1::int)"
            return sum([row[0] async for row in connection.cursor(query, ROWS, prefetch=99)])

    async def copy(self):
        """Bulk data in by records, and out to a coroutine that is slower than the server."""
        got = hashlib.sha256()
        size = 0

        async def sink(data):
            nonlocal size
            size += len(data)
            got.update(data)
            await asyncio.sleep(0)

        async with self.connect() as connection:
            await connection.execute("CREATE TEMP TABLE bulk (n int, t text)")
            records = [(n, f"row {n} " * 10) for n in range(ROWS)]
            said = await connection.copy_records_to_table("bulk", records=records)
            out = await connection.copy_from_query("SELECT * FROM bulk ORDER BY n", output=sink)
        return [said, out, size, got.hexdigest()]

    async def notifications(self):
        """What one connection says another one hears, in order."""
        heard, last = [], asyncio.get_running_loop().create_future()

        def listener(connection, pid, channel, payload):
            heard.append([channel, payload])
            if payload == "9":
                last.set_result(None)

        async with self.connect() as ears, self.connect() as mouth:
            await ears.add_listener("news", listener)
            for n in range(10):
                await mouth.execute(f"NOTIFY news, '{n}'")
            await asyncio.wait_for(last, 30)
            await ears.remove_listener("news", listener)
        return heard

    async def errors(self):
        """The server's errors arrive as exceptions; the connection stays usable."""
        said = []
        async with self.connect() as connection:
            for query in ("SELECT 1/0", "SELEC", "SELECT * FROM missing"):
                try:
                    await connection.fetch(query)
                except asyncpg.PostgresError as error:
                    said.append([type(error).__name__, str(error)])
            said.append(await connection.fetchval("SELECT 1"))
        try:
            await asyncpg.connect(**self.where(database="missing"))
        except asyncpg.PostgresError as error:
            said.append([type(error).__name__, str(error)])
        try:
            await asyncpg.connect(**self.where(port=1, timeout=10))
        except OSError as error:
            said.append([type(error).__name__, error.errno])
        return said

    async def cancelled(self):
        """Long queries are given up in three ways; each time the connection stays usable."""
        said = []
        async with self.connect() as connection:

            async def sleep(**kwargs):
                await connection.execute("SELECT pg_sleep(60)", **kwargs)

            for give_up in (sleep(timeout=0.1), asyncio.wait_for(sleep(), 0.1)):
                try:
                    await give_up
                except TimeoutError as error:
                    said.append([type(error).__name__, str(error)])
                said.append(await connection.fetchval("SELECT 1"))
            task = asyncio.create_task(sleep())
            await asyncio.sleep(0.1)
            task.cancel("enough")
            try:
                await task
            except asyncio.CancelledError as error:
                said.append(["CancelledError", error.args])
            said.append(await connection.fetchval("SELECT 2"))
        return said

    async def wait_for_sleepers(self, watcher, pids):
        """Wait until the server has begun the long queries of these connections."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1) AND wait_event = 'PgSleep'"
        )
        while await watcher.fetchval(query, pids) < len(pids):
            await asyncio.sleep(0.01)

    async def terminated(self):
        """The server ends a connection in the middle of a query."""
        async with self.connect() as killer:
            connection = await asyncpg.connect(**self.where())
            pid = connection.get_server_pid()
            task = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
            await self.wait_for_sleepers(killer, [pid])
            await killer.execute("SELECT pg_terminate_backend($1)", pid)
            try:
                await task
            except asyncpg.PostgresError as error:
                said = type(error).__name__
            while not connection.is_closed():
                await asyncio.sleep(0.01)
            return [said, connection.is_closed()]

    async def tls(self):
        """The same connection turned to TLS after its first bytes, with a checked certificate."""
        context = ssl.create_default_context(cafile=self.certificate)
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        block = "x" * MEBIBYTE
        said = []
        async with self.connect(host="localhost", ssl=context) as connection:
            said.append(await connection.fetchval(query))
            said.append(await connection.fetchval("SELECT $1::text", block) == block)
            try:
                await connection.execute("SELECT pg_sleep(60)", timeout=0.1)
            except TimeoutError:
                said.append(await connection.fetchval("SELECT 1"))
        try:
            await asyncpg.connect(**self.where(host="localhost", ssl=ssl.create_default_context()))
        except ssl.SSLCertVerificationError as error:
            said.append(error.verify_message)
        return said

    async def unix(self):
        """The server's UNIX socket."""
        async with self.connect(host=self.folder) as connection:
            address = await connection.fetchval("SELECT inet_client_addr()")
            return [
                address,
                await connection.fetchval("SELECT repeat('a', 300000)") == "a" * 300_000,
            ]

    async def dropped(self):
        """A pool is terminated under its users; they are told, and nothing hangs."""
        pool = await asyncpg.create_pool(**self.where(), min_size=3, max_size=3)
        connections = [await pool.acquire() for _ in range(3)]
        users = [asyncio.create_task(one.execute("SELECT pg_sleep(60)")) for one in connections]
        async with self.connect() as watcher:
            await self.wait_for_sleepers(watcher, [one.get_server_pid() for one in connections])
        pool.terminate()
        done = await asyncio.gather(*users, return_exceptions=True)
        return [type(error).__name__ for error in done]


CHECKS = ["values", "pool", "cursor", "copy", "notifications", "errors", "cancelled", "terminated"]
CHECKS += ["tls", "unix", "dropped"]


if __name__ == "__main__":
    asyncio.run(told.tell(Client(*sys.argv[1:]), CHECKS))
