"""Queues and producer/consumer."""

import asyncio

from _harness import case, program, raises, timed_case


@case(
    "queue.producer_consumer",
    (
        "one producer of 5 items, one consumer: all items in order; join ends when all are "
        "done; the endless consumer is cancelled"
    ),
)
async def _():
    q, got = asyncio.Queue(), []

    async def producer():
        for i in range(5):
            await q.put(i)
            await asyncio.sleep(0.005)

    async def consumer():
        while True:
            got.append(await q.get())
            q.task_done()

    c = asyncio.create_task(consumer())
    await producer()
    await asyncio.wait_for(q.join(), 5)
    c.cancel()
    with raises(asyncio.CancelledError):
        await c
    assert got == [0, 1, 2, 3, 4]


@timed_case(
    "queue.endless_consumer_hangs",
    (
        "gather(producer, endless consumer) never ends: the items are consumed, the gather "
        "stays pending"
    ),
)
async def _():
    q, got = asyncio.Queue(), []

    async def producer():
        for i in range(5):
            await q.put(i)

    async def consumer():
        while True:
            got.append(await q.get())
            q.task_done()

    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.gather(producer(), consumer()), 0.1)
    assert got == [0, 1, 2, 3, 4]


@case(
    "queue.put_get",
    "put, get, put_nowait, get_nowait, qsize, empty, full, maxsize, QueueFull, QueueEmpty",
)
async def _():
    q = asyncio.Queue(maxsize=2)
    assert q.empty() and q.maxsize == 2
    await q.put("a")
    q.put_nowait("b")
    assert q.full() and q.qsize() == 2
    with raises(asyncio.QueueFull):
        q.put_nowait("c")
    assert [await q.get(), q.get_nowait()] == ["a", "b"]
    with raises(asyncio.QueueEmpty):
        q.get_nowait()


@case(
    "queue.backpressure",
    "put on a full queue waits until there is room; never more than maxsize inside",
)
async def _():
    q, top = asyncio.Queue(maxsize=3), 0

    async def producer():
        nonlocal top
        for i in range(100):
            await q.put(i)
            top = max(top, q.qsize())

    t, got = asyncio.create_task(producer()), []
    await asyncio.sleep(0.005)
    assert q.qsize() == 3 and not t.done()
    for _ in range(100):
        got.append(await q.get())
        await asyncio.sleep(0)
    await t
    assert got == list(range(100)) and top == 3


@case("queue.task_done", "join waits for as many task_done as puts; one too many: ValueError")
async def _():
    q = asyncio.Queue()
    await asyncio.wait_for(q.join(), 1)
    for i in range(3):
        q.put_nowait(i)
    j = asyncio.create_task(q.join())
    for _ in range(3):
        await asyncio.sleep(0)
        assert not j.done()
        await q.get()
        q.task_done()
    await asyncio.wait_for(j, 1)
    with raises(ValueError, "task_done() called too many times"):
        q.task_done()


@case(
    "queue.many_consumers",
    "3 producers, 7 consumers, 5000 items: each item once; waiting getters are served in turn",
)
async def _():
    q, got = asyncio.Queue(maxsize=10), []

    async def producer(k):
        for i in range(1000):
            await q.put(k * 1000 + i)

    async def consumer():
        while True:
            got.append(await q.get())
            q.task_done()

    cs = [asyncio.create_task(consumer()) for _ in range(7)]
    await asyncio.gather(*[producer(k) for k in range(5)])
    await q.join()
    for c in cs:
        c.cancel()
    await asyncio.gather(*cs, return_exceptions=True)
    assert sorted(got) == list(range(5000))
    q2 = asyncio.Queue()
    gs = [asyncio.create_task(q2.get()) for _ in range(4)]
    await asyncio.sleep(0)
    for i in range(4):
        q2.put_nowait(i)
    assert await asyncio.gather(*gs) == [0, 1, 2, 3]


@case("queue.cancelled_get", "a cancelled get loses no item")
async def _():
    q = asyncio.Queue()
    a, b = asyncio.create_task(q.get()), asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.put_nowait("x")
    a.cancel()
    assert await asyncio.wait_for(b, 1) == "x" and a.cancelled()
    assert q.empty()


@case("queue.kinds", "PriorityQueue by priority, LifoQueue last in first out")
async def _():
    heap, stack = asyncio.PriorityQueue(), asyncio.LifoQueue()
    for i in (3, 1, 2):
        await heap.put(i)
        await stack.put(i)
    assert [await heap.get() for _ in range(3)] == [1, 2, 3]
    assert [await stack.get() for _ in range(3)] == [2, 1, 3]


@case("queue.shutdown", "shutdown ends waiting getters with QueueShutDown", since=(3, 13))
async def _():
    q = asyncio.Queue()
    g = asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.shutdown()
    with raises(asyncio.QueueShutDown):
        await g


@case(
    "queue.pubsub",
    (
        "publish/subscribe: a queue per subscriber, each gets every message from its "
        "subscription on, in order; a slow one does not stop the others"
    ),
)
async def _():
    subs, got = set(), {}

    async def subscriber(name, delay):
        q = asyncio.Queue()
        subs.add(q)
        try:
            got[name] = []
            while (m := await q.get()) is not None:
                got[name].append(m)
                await asyncio.sleep(delay)
        finally:
            subs.discard(q)

    def publish(m):
        for q in subs:
            q.put_nowait(m)

    ts = [asyncio.create_task(subscriber(f"s{i}", 0)) for i in range(9)]
    ts.append(asyncio.create_task(subscriber("slow", 0.002)))
    await asyncio.sleep(0)
    for i in range(20):
        publish(i)
        await asyncio.sleep(0)
    late = asyncio.create_task(subscriber("late", 0))
    await asyncio.sleep(0)
    publish("last"), publish(None)
    await asyncio.wait_for(asyncio.gather(*ts, late), 10)
    assert not subs and got.pop("late") == ["last"]
    assert len(got) == 10 and all(v == [*list(range(20)), "last"] for v in got.values())


program(__name__)
