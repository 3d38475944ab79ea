"""asyncio.shield."""

import asyncio

from _harness import case, collect, program, raises, timed_case


@timed_case(
    "shield.protects", "the awaiting task is cancelled, the shielded one goes on to its end"
)
async def _():
    inner = asyncio.create_task(asyncio.sleep(0.15, "kept"))

    async def outer():
        return await asyncio.shield(inner)

    t = asyncio.create_task(outer())
    await asyncio.sleep(0.005)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert not inner.done() and await inner == "kept"


@case(
    "shield.result", "undisturbed it gives the result or the exception; takes coroutines and tasks"
)
async def _():
    async def bad():
        raise ValueError("b")

    assert await asyncio.shield(asyncio.sleep(0.001, 5)) == 5
    assert await asyncio.shield(asyncio.create_task(asyncio.sleep(0, 6))) == 6
    with raises(ValueError, "b"):
        await asyncio.shield(bad())


@timed_case("shield.wait_for", "wait_for(shield(task), t): TimeoutError, the task lives on")
async def _():
    inner = asyncio.create_task(asyncio.sleep(0.15, "late"))
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(inner), 0.01)
    assert not inner.cancelled() and await inner == "late"


@case("shield.inner_cancel", "cancelling the inner task itself cancels the shield too")
async def _():
    inner = asyncio.create_task(asyncio.sleep(9))
    s = asyncio.shield(inner)
    await asyncio.sleep(0)
    inner.cancel()
    with raises(asyncio.CancelledError):
        await s


@case(
    "shield.late_exception",
    (
        "an exception of the inner task after the outer was cancelled is reported through the "
        "exception handler"
    ),
)
async def _():
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda lp, c: seen.append(c))

    async def bad():
        await asyncio.sleep(0.01)
        raise ValueError("late")

    inner = asyncio.create_task(bad())
    s = asyncio.shield(inner)
    s.cancel()
    await asyncio.sleep(0.03)
    del inner, s
    collect()
    await asyncio.sleep(0)
    assert [c for c in seen if isinstance(c.get("exception"), ValueError)], seen


program(__name__)
