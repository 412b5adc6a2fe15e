from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.scheduler import Scheduler
from tessera.inference.engine.sequence import Sequence

SIZE = 4


def scheduler(blocks=16, memory=16, **limits):
    return Scheduler(BlockManager(blocks, SIZE), BlockManager(memory, SIZE), Limits(**limits))


def sequence(number=1, prompt=4, limit=64, deadline=None):
    return Sequence(number, 1, range(prompt), limit=limit, deadline=deadline)


def write(plan):
    for each in (*plan.prefill, *plan.decode):
        each.tokens.append(0)


def numbers(sequences):
    return [each.number for each in sequences]


def test_newcomers_join_those_that_run():
    it = scheduler()
    it.add([sequence(1)])
    write(it.schedule(0))
    it.add([sequence(2)])
    plan = it.schedule(0)
    assert numbers(plan.decode) == [1]
    assert numbers(plan.prefill) == [2]


def test_the_batch_is_bounded_and_first_come_first_served():
    it = scheduler(max_batch=2)
    added = [sequence(n) for n in (1, 2, 3)]
    for each in added:
        it.add([each])
    plan = it.schedule(0)
    assert numbers(plan.prefill) == [1, 2]
    write(plan)
    it.remove([added[0]])
    assert numbers(it.schedule(0).prefill) == [3]


def test_prompt_tokens_of_a_step_are_bounded_but_one_always_gets_in():
    it = scheduler(max_prefill_tokens=10)
    for number, prompt in ((1, 12), (2, 6), (3, 4)):
        it.add([sequence(number, prompt)])
    first, second, third = (it.schedule(0) for _ in range(3))
    assert numbers(first.prefill) == [1]
    assert numbers(second.prefill) == [2, 3]
    assert not third.prefill


def test_the_watermark_is_left_free_while_something_runs():
    it = scheduler(blocks=4, watermark=2)
    it.add([sequence(1, 4 * SIZE)])
    it.add([sequence(2, 1)])
    assert numbers(it.schedule(0).prefill) == [1]
    assert it.blocks.free == 0
    assert it.waiting == 1


def test_the_youngest_makes_room_and_starts_again_with_what_it_wrote():
    it = scheduler(blocks=4, watermark=0)
    old, young = sequence(1, 2 * SIZE), sequence(2, 2 * SIZE)
    it.add([old])
    it.add([young])
    write(it.schedule(0))
    plan = it.schedule(0)
    assert numbers(plan.preempted) == [2]
    assert numbers(plan.decode) == [1]
    assert not plan.prefill
    assert young.branches[0].blocks == []
    assert len(young) == 2 * SIZE + 1
    it.remove([old])
    assert numbers(it.schedule(0).prefill) == [2]
    assert len(young.branches[0].blocks) == 3


def test_one_that_was_preempted_comes_before_those_that_never_ran():
    it = scheduler(blocks=4, watermark=0, max_batch=2)
    first = sequence(1, 2 * SIZE)
    for each in (first, sequence(2, 2 * SIZE), sequence(3, 1)):
        it.add([each])
    write(it.schedule(0))
    write(it.schedule(0))
    it.remove([first])
    assert numbers(it.schedule(0).prefill) == [2, 3]


@pytest.mark.parametrize("running", [True, False])
def test_a_deadline_takes_the_sequence_out(running):
    it = scheduler()
    it.add([sequence(1, deadline=5.0)])
    if running:
        write(it.schedule(4.9))
        assert it.blocks.free < it.blocks.total
    plan = it.schedule(5.0)
    assert numbers(plan.expired) == [1]
    assert it.idle
    assert it.blocks.free == it.blocks.total


def test_too_many_requests_are_refused_with_a_time_to_come_back():
    it = scheduler(max_batch=1, max_waiting=1)
    one = sequence(1)
    it.add([one])
    it.add([sequence(2)])
    with pytest.raises(errors.ResourceExhaustedError) as refused:
        it.add([sequence(3)])
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.retry_after > 0
    it.remove([one])
    it.add([sequence(4)])


def test_retry_after_follows_the_pace_at_which_requests_end():
    it = scheduler(max_batch=1, max_waiting=50)
    for number in range(50):
        each = sequence(number)
        it.add([each])
        it.schedule(0)
        it.remove([each], now=5.0 * number)
    for number in range(51):
        it.add([sequence(number)])
    with pytest.raises(errors.ResourceExhaustedError) as refused:
        it.add([sequence(99)])
    assert refused.value.retry_after == pytest.approx(5.0, rel=0.01)


def test_too_many_tokens_are_refused_but_one_long_prompt_may_wait():
    it = scheduler(max_waiting_tokens=10)
    it.add([sequence(1, 30)])
    with pytest.raises(errors.ResourceExhaustedError):
        it.add([sequence(2, 1)])


def test_nothing_can_be_taken_out_twice():
    it = scheduler()
    each = sequence()
    it.add([each])
    it.schedule(0)
    assert it.remove([each])
    assert not it.remove([each])
    assert it.blocks.free == it.blocks.total


@settings(max_examples=100, deadline=None)
@given(
    blocks=st.integers(8, 20),
    max_batch=st.integers(1, 5),
    watermark=st.integers(0, 2),
    lengths=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 12)), min_size=1, max_size=12),
    data=st.data(),
)
def test_whatever_happens_everyone_ends_and_every_block_returns(
    blocks, max_batch, watermark, lengths, data
):
    it = scheduler(blocks, max_batch=max_batch, watermark=watermark, max_waiting=100)
    alive = [
        sequence(number, prompt, min(prompt + more, blocks * SIZE))
        for number, (prompt, more) in enumerate(lengths)
    ]
    for each in alive:
        it.add([each])
    for step in range(2000):
        if it.idle:
            break
        plan = it.schedule(step)
        held = [block for each in alive for block in each.branches[0].blocks]
        assert len(held) == len(set(held)) == it.blocks.total - it.blocks.free
        assert len(plan.prefill) + len(plan.decode) <= max_batch
        assert plan.prefill or plan.decode, "no step may be idle while somebody waits"
        for each in (*plan.prefill, *plan.decode):
            assert len(each.branches[0].blocks) == it.blocks.needed(len(each))
        write(plan)
        for each in (*plan.prefill, *plan.decode):
            if each.full or data.draw(st.integers(0, 9)) == 0:
                it.remove([each], step)
    assert it.idle
    assert it.blocks.free == it.blocks.total
