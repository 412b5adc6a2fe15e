"""Shares of a loop's time: who is alone has all of it, who is not keeps nobody waiting."""

from __future__ import annotations

import asyncio
import time

import pytest

from tessera.rpc.pace import PRINCIPAL_RATE, TENANT_RATE, UNITS, Pace
from tessera.rpc.principal import ANONYMOUS, Principal, Role

STEP = 0.002
"""Seconds of the loop that each call takes."""


def principal(name, tenant):
    return Principal(subject=name, role=Role.SUBMITTER, tenant=tenant)


EVE, EVA = principal("eve", "a"), principal("eva", "a")
BOB = principal("bob", "b")
SHARD = Principal(subject="shard-0", role=Role.SHARD, tenant="")


async def work():
    """Some work in two steps."""
    for _ in range(2):
        begin = time.thread_time()
        while time.thread_time() - begin < STEP / 2:
            pass
        await asyncio.sleep(0)
    return 1


async def greedy(pace, callers, seconds, workers=8):
    """Calls that so many workers of each caller make."""
    end = time.monotonic() + seconds

    async def calls(caller):
        made = 0
        while time.monotonic() < end:
            made += await pace.call(caller, work)
        return made

    return sum(await asyncio.gather(*(calls(caller) for caller in callers for _ in range(workers))))


async def modest(pace, seconds):
    """How long the calls of somebody else take, and the time that went by."""
    begin, found = time.monotonic(), []
    while time.monotonic() < begin + seconds:
        called = time.monotonic()
        await pace.call(BOB, work)
        found.append(time.monotonic() - called)
        await asyncio.sleep(0.02)
    return sorted(found), time.monotonic() - begin


def slow():
    """At whose loop every step takes a second; who had to wait would raise."""
    return Pace(spent=iter(range(10_000)).__next__, sleep=None)


async def test_who_is_alone_never_waits():
    pace = slow()

    async def quick():
        return 1

    for _ in range(50):
        assert await pace.call(EVE, quick) == 1


@pytest.mark.parametrize("free", [SHARD, ANONYMOUS])
async def test_some_are_not_limited(free):
    pace = slow()

    async def quick():
        return 1

    for _ in range(50):
        await pace.call(free, quick)
        await pace.call(SHARD, quick)


@pytest.mark.waits
@pytest.mark.measures
@pytest.mark.parametrize(("callers", "rate"), [([EVE], PRINCIPAL_RATE), ([EVE, EVA], TENANT_RATE)])
async def test_whoever_is_not_alone_has_its_share(callers, rate):
    pace = Pace()
    await pace.call(BOB, work)
    attack = asyncio.create_task(greedy(pace, callers, 1.5))
    seconds, passed = await modest(pace, 1.5)
    made = await attack
    share = (made * STEP - rate.burst / UNITS) / passed
    assert share < 1.2 * rate.per_second / UNITS
    assert seconds[len(seconds) // 2] < 5 * STEP


async def test_what_a_call_ends_with_comes_out():
    pace, begun = Pace(), asyncio.Event()

    async def fails():
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def cleans_up():
        try:
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            begun.clear()
            await asyncio.sleep(0)
            raise

    async def late():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(ZeroDivisionError):
        await pace.call(EVE, fails)
    with pytest.raises(TimeoutError):
        await pace.call(EVE, late)
    task = asyncio.create_task(pace.call(EVE, cleans_up))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not begun.is_set()
