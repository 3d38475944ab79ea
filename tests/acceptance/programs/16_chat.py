"""A chat server with joining, leaving, names and private messages."""

import asyncio

from _harness import case, program


class Chat:
    def __init__(self):
        self.people = {}

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    def tell(self, text, but=None):
        for name, q in self.people.items():
            if name != but:
                q.put_nowait(text)

    async def serve(self, reader, writer):
        name = (await reader.readline()).decode().strip()
        if name in self.people:
            writer.write(b"taken\n")
            writer.close()
            return
        q = self.people[name] = asyncio.Queue()
        self.tell(f"{name} joined", but=name)

        async def send():
            while True:
                writer.write((await q.get() + "\n").encode())
                await writer.drain()

        sender = asyncio.create_task(send())
        q.put_nowait("welcome " + name)
        try:
            while line := (await reader.readline()).decode().strip():
                if line.startswith("@"):
                    to, _, text = line[1:].partition(" ")
                    self.people[to].put_nowait(f"{name} (private): {text}")
                else:
                    self.tell(f"{name}: {line}", but=name)
        finally:
            del self.people[name]
            sender.cancel()
            self.tell(f"{name} left")
            writer.close()


class Person:
    def __init__(self, r, w):
        self.r, self.w = r, w

    @classmethod
    async def join(cls, port, name):
        p = cls(*await asyncio.open_connection("127.0.0.1", port))
        p.say(name)
        p.first = await p.hear()
        return p

    def say(self, text):
        self.w.write(text.encode() + b"\n")

    async def hear(self):
        return (await asyncio.wait_for(self.r.readline(), 10)).decode().strip()


@case(
    "chat.rooms",
    (
        "join, broadcast to all but the sender, private message, name taken, leave: every "
        "member reads exactly the expected lines"
    ),
)
async def _():
    chat = Chat()
    port = await chat.start()
    a = await Person.join(port, "ann")
    b = await Person.join(port, "bob")
    c = await Person.join(port, "cat")
    assert (a.first, b.first, c.first) == ("welcome ann", "welcome bob", "welcome cat")
    assert (await Person.join(port, "ann")).first == "taken"
    assert [await a.hear(), await a.hear()] == [
        "bob joined",
        "cat joined",
    ] and await b.hear() == "cat joined"
    a.say("hello")
    assert [await b.hear(), await c.hear()] == ["ann: hello"] * 2
    b.say("@cat psst")
    assert await c.hear() == "bob (private): psst"
    c.w.close()
    assert [await a.hear(), await b.hear()] == ["cat left"] * 2
    a.w.close()
    assert await b.hear() == "ann left"
    b.w.close()
    chat.server.close()


@case(
    "chat.crowd",
    (
        "80 members, each says 5 lines: each of them hears the 395 lines of the others, per "
        "sender in order"
    ),
)
async def _():
    chat = Chat()
    port = await chat.start()
    people = await asyncio.gather(*[Person.join(port, f"m{i}") for i in range(80)])
    for p in people:
        for k in range(5):
            p.say(f"line {k}")

    async def listen(p):
        said = {}
        while sum(map(len, said.values())) < 79 * 5:
            who, sep, text = (await p.hear()).partition(": ")
            if sep:
                said.setdefault(who, []).append(text)
        assert len(said) == 79 and all(v == [f"line {k}" for k in range(5)] for v in said.values())

    await asyncio.wait_for(asyncio.gather(*[listen(p) for p in people]), 30)
    for p in people:
        p.w.close()
    chat.server.close()


program(__name__)
