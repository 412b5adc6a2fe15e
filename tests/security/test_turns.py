"""Whoever has asked a replica for a lot keeps nobody waiting for more than a step."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.fair_queue import FairQueue
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.pooling import PoolingInput, PoolingRequest
from tessera.inference.engine.scheduler import Scheduler
from tessera.inference.engine.sequence import Sequence
from tessera.inference.engine.step_budget import LEAST_PLACES, STEP_SECONDS
from tessera.inference.fair_pool import FairPool

SIZE = 4
STEP = 800


def scheduler(blocks=4000, **limits):
    limits.setdefault("max_prefill_tokens", STEP)
    return Scheduler(BlockManager(blocks, SIZE), BlockManager(blocks, SIZE), Limits(**limits))


def texts(client, numbers, tokens=100, group=None):
    """A request of several texts."""
    return [
        PoolingRequest(
            number=number,
            group=numbers[0] if group is None else group,
            version=1,
            text=PoolingInput(head="classes", tokens=(1,) * tokens),
            client=client,
        )
        for number in numbers
    ]


def masked(client, number, places):
    """A text of which much is hidden."""
    tokens = (1,) * places
    text = PoolingInput(head="masked", tokens=tokens, places=tuple(range(places)))
    return PoolingRequest(number=number, group=number, version=1, text=text, client=client)


def answer(client, number, prompt=4, limit=10_000):
    return Sequence(number, 1, range(prompt), limit=limit, client=client)


def write(plan):
    for each in (*plan.prefill, *plan.decode):
        each.tokens.append(0)


def step(it):
    """One step; returns what is read and written in it, after taking out what was read."""
    plan = it.schedule(0)
    write(plan)
    it.remove(plan.read)
    return [item.client for item in (*plan.read, *plan.prefill)]


@pytest.mark.parametrize("small", [texts("b", [9000], 10), [answer("b", 9000)]])
@pytest.mark.parametrize("bulk", ["texts", "requests", "answers"])
def test_a_small_request_is_in_the_very_next_step(small, bulk):
    it = scheduler(max_batch=16, max_waiting=5000)
    match bulk:
        case "texts":
            it.add(texts("a", range(1, 5001)))
        case "requests":
            for number in range(1, 501):
                it.add(texts("a", [number]))
        case "answers":
            for number in range(1, 101):
                it.add([answer("a", number)])
    for _ in range(3):
        assert "b" not in step(it)
    it.add(small)
    assert "b" in step(it)


def test_one_request_after_another_has_its_turn_in_every_step():
    it = scheduler(max_waiting=5000)
    it.add(texts("a", range(1, 5001)))
    for number in range(6000, 6050):
        it.add(texts("b", [number], 10))
        read = step(it)
        assert read.count("b") == 1
        assert read.count("a") >= 6  # And the other loses only what it takes.


def test_bulk_of_several_clients_takes_turns():
    it = scheduler(max_waiting=5000)
    for client, first, tokens in (("a", 1, 100), ("b", 2001, 50), ("c", 3001, 25)):
        it.add(texts(client, range(first, first + 1000), tokens))
    read = {"a": 0, "b": 0, "c": 0}
    for _ in range(30):
        for client in step(it):
            read[client] += {"a": 100, "b": 50, "c": 25}[client]
    assert sum(read.values()) == pytest.approx(30 * STEP, rel=0.1)
    assert max(read.values()) <= 1.1 * min(read.values())


def test_a_row_is_given_up_for_whoever_has_none_and_comes_back():
    it = scheduler(max_batch=4)
    for number in range(1, 9):
        it.add([answer("a", number)])
    assert step(it) == ["a"] * 4
    it.add([answer("b", 20)])
    plan = it.schedule(0)
    assert [each.number for each in plan.preempted] == [4]
    assert [each.number for each in plan.prefill] == [20]
    assert [each.number for each in plan.decode] == [1, 2, 3]
    write(plan)
    it.add([answer("b", 21)])
    assert step(it) == []  # It has one now, and there is no other room.
    it.remove(plan.prefill)
    again = it.schedule(0)
    assert [each.number for each in (*again.prefill, *again.decode)][:1] in ([4], [21])


def test_the_last_row_of_a_client_is_its_own():
    it = scheduler(max_batch=2)
    for client, number in (("a", 1), ("b", 2)):
        it.add([answer(client, number)])
    assert step(it) == ["a", "b"]
    it.add([answer("c", 3)])
    for _ in range(5):
        assert step(it) == []


def test_who_fills_the_queue_gives_way_and_is_told_so():
    it = scheduler(max_batch=2, max_waiting=4)
    for number in range(1, 7):
        it.add([answer("a", number)])
    with pytest.raises(errors.ResourceExhaustedError):
        it.add([answer("a", 7)])
    step(it)
    [leaving] = it.add([answer("b", 8)])
    assert (leaving.client, leaving.number) == ("a", 6)
    it.remove([leaving])
    [leaving] = it.add([answer("b", 9)])
    it.remove([leaving])
    [leaving] = it.add([answer("b", 10)])
    it.remove([leaving])
    for client in "ab":  # Each has a half: nobody gives way any more.
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            it.add([answer(client, 11)])
        assert caught.value.reason == "QUEUE_FULL"


def test_who_fills_the_queue_with_tokens_gives_way():
    it = scheduler(max_waiting=1000, max_waiting_tokens=10_000)
    it.add(texts("a", range(1, 61)))
    it.add(texts("a", range(61, 91)))
    leaving = it.add(texts("b", range(100, 120)))
    assert [item.group for item in leaving] == [61]
    it.remove(texts("a", range(61, 91)))
    with pytest.raises(errors.ResourceExhaustedError):
        it.add(texts("b", range(200, 260)))
    assert step(it)


@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_a_step_takes_on_what_can_be_done_in_its_time(seconds):
    it = scheduler(max_waiting=5000)
    it.add(texts("a", range(1, 5001), 10))
    for _ in range(20):
        plan = it.schedule(0)
        it.budget.count(plan.tokens, seconds * plan.tokens / STEP)
        it.remove(plan.read)
    wanted = STEP if seconds < STEP_SECONDS else STEP * STEP_SECONDS / seconds
    assert plan.tokens == pytest.approx(wanted, rel=0.15)


def step_in_part(it, seconds, now=0.0):
    """One step that lasts so long for each place; returns its plan, with what is read whole out."""
    plan = it.schedule(now)
    left = {}
    for item in plan.read:
        done = item.places if plan.places is None else min(plan.places, item.places)
        if done < item.places:
            left[item.number] = item.places - done
    spent = 0.005 + seconds * (sum(item.places for item in plan.read) - sum(left.values()))
    it.finish(plan, left, spent)
    it.remove([item for item in plan.read if item.number not in left])
    return plan, spent


@pytest.mark.parametrize("seconds", [1e-6, 0.0003, 0.003])
def test_a_text_is_read_in_parts_that_last_as_long_as_what_others_ask_for(seconds):
    it = scheduler(max_waiting=5000)
    for number in range(1, 500):
        it.add([masked("a", number, 500)])
    for _ in range(50):
        plan, alone = step_in_part(it, seconds)
    assert [item.client for item in plan.read] == ["a"]
    for number in range(1000, 1100):
        it.add([masked("b", number, 1)])
        plan, _ = step_in_part(it, seconds)
        assert [item.client for item in plan.read] == ["b"]
        plan, beside = step_in_part(it, seconds)
        assert [item.client for item in plan.read] == ["a"]
    least = 0.005 + seconds * LEAST_PLACES
    if seconds < 1e-3:
        assert beside <= alone
    assert beside <= max(least, 2 * (0.005 + seconds))


def test_all_places_of_a_text_have_their_turn_once():
    it, done = scheduler(), 0
    it.add([masked("a", 1, 777)])
    while not it.idle:
        plan = it.schedule(0)
        part = min(plan.places, plan.read[0].places)
        left = plan.read[0].places - part
        it.finish(plan, {1: left} if left else {}, 0.01)
        it.remove([] if left else plan.read)
        done += part
    assert done == 777


@settings(deadline=None)
@given(
    costs=st.lists(st.lists(st.integers(1, 50), min_size=30, max_size=30), min_size=2, max_size=4),
    turns=st.integers(1, 30),
)
def test_nobody_is_ahead_by_more_than_what_was_asked_for_at_once(costs, turns):
    queue, had, numbers = FairQueue(), [0] * len(costs), itertools.count()
    for name, each in enumerate(costs):
        for cost in each:
            queue.append(texts(str(name), [next(numbers)], cost)[0])
    for _ in range(turns):
        item = queue.head()
        queue.pop(item, item.cost)
        had[int(item.client)] += item.cost
    assert max(had) - min(had) <= 50
    newcomer = texts("new", [next(numbers)], 50)[0]
    queue.append(newcomer)
    item = queue.head()
    if item is not newcomer:  # Who has had as little may come before it, once.
        queue.pop(item, item.cost)
        assert had[int(item.client)] == min(had)


async def test_a_client_leaves_a_thread_to_others():
    pool, gate = FairPool(threads=3), threading.Event()
    bulk = [asyncio.create_task(pool.run("a", 10, gate.wait)) for _ in range(50)]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(pool.run("b", 10, lambda: "done"), 5) == "done"
    assert await asyncio.wait_for(pool.run("c", 10, lambda: "done"), 5) == "done"
    for task in bulk[::2]:
        task.cancel()
    gate.set()
    assert all(await asyncio.gather(*bulk[1::2]))
    assert await pool.run("a", 10, lambda: 1) == 1
    assert not pool._turns.taken
    assert not pool._held


async def test_work_of_two_clients_alternates():
    pool, order, gate = FairPool(threads=1), [], threading.Event()
    first = asyncio.create_task(pool.run("a", 1, gate.wait))
    await asyncio.sleep(0)

    def work(name):
        return asyncio.create_task(pool.run(name, 1, lambda: order.append(name)))

    tasks = [work(name) for name in "aaaaabb"]
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(first, *tasks)
    assert order.index("b") <= 1
    assert order[:4].count("b") == 2


async def test_what_waits_is_bounded_by_its_bytes():
    pool, gate = FairPool(threads=1, room=100), threading.Event()
    tasks = [asyncio.create_task(pool.run("a", 25, gate.wait)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        await pool.run("a", 25, lambda: 1)
    assert caught.value.reason == "QUEUE_FULL"
    other = asyncio.create_task(pool.run("b", 25, lambda: 2))
    await asyncio.sleep(0.05)
    gate.set()
    assert await other == 2
    await asyncio.gather(*tasks)


async def test_work_that_fails_says_so_and_gives_its_thread_back():
    pool = FairPool(threads=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await pool.run("a", 1, lambda: 1 // 0)
    assert await pool.run("a", 1, lambda: 1) == 1
