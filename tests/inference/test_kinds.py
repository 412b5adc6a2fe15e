"""Kinds of work on one scheduler: what is written, what is read first, what is only read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.inference.engine import block_tables
from tessera.inference.engine.beam import BeamSearch
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.packing import pack
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.pooling import PoolingInput, PoolingRequest
from tessera.inference.engine.scheduler import Scheduler
from tessera.inference.engine.sequence import Sequence

SIZE = 4


def scheduler(blocks=16, memory=16, **limits):
    return Scheduler(BlockManager(blocks, SIZE), BlockManager(memory, SIZE), Limits(**limits))


def reading(number, tokens=4, group=None):
    text = PoolingInput(head="classes", tokens=tuple(range(tokens)))
    return PoolingRequest(number=number, group=group or number, version=1, text=text)


def translation(number, source=4, **fields):
    return Sequence(number, 1, (0,), limit=64, source=range(source), **fields)


def numbers(items):
    return [item.number for item in items]


def test_texts_of_many_requests_are_read_together_up_to_the_budget():
    it = scheduler(max_prefill_tokens=10)
    it.add([reading(1, 4, group=1), reading(2, 4, group=1)])
    it.add([reading(3, 2), reading(4, 9)])
    first, second = it.schedule(0), None
    assert numbers(first.read) == [1, 2, 3]
    it.remove(first.read, 0)
    second = it.schedule(0)
    assert numbers(second.read) == [4]
    it.remove(second.read, 0)
    assert it.idle


def test_the_encoder_runs_once_and_what_it_read_is_held_until_the_end():
    it = scheduler(blocks=2, memory=4, watermark=0)
    one, two = translation(1, 6), translation(2, 8)
    it.add([one, two])
    plan = it.schedule(0)
    assert numbers(plan.encode) == numbers(plan.prefill) == [1, 2]
    assert it.cross_blocks.free == 0
    for each in (one, two):
        each.tokens.extend([5] * 4)
    plan = it.schedule(0)
    assert numbers(plan.preempted) == [2]
    assert it.cross_blocks.free == 0
    it.remove([one])
    plan = it.schedule(0)
    assert numbers(plan.prefill) == [2]
    assert not plan.encode
    it.remove([two])
    assert it.cross_blocks.free == 4


def test_without_memory_a_source_waits_and_texts_to_read_overtake_it():
    it = scheduler(memory=2)
    it.add([translation(1, 8)])
    it.add([translation(2, 1)])
    it.add([reading(3)])
    it.add([translation(4, 1)])
    plan = it.schedule(0)
    assert numbers(plan.prefill) == [1]
    assert numbers(plan.read) == [3]


def test_a_beam_search_takes_the_rows_of_its_hypotheses():
    it = scheduler(max_batch=4)
    searches = [
        Sequence(
            n,
            1,
            (1,),
            limit=9,
            search=BeamSearch(beams=3, length_penalty=1, end_ids=frozenset({0}), limit=8),
        )
        for n in (1, 2)
    ]
    it.add([searches[0]])
    it.add([searches[1]])
    it.add([Sequence(3, 1, (1,), limit=9)])
    assert numbers(it.schedule(0).prefill) == [1]
    it.remove([searches[0]])
    assert numbers(it.schedule(0).prefill) == [2, 3]


def test_a_request_counts_once_whatever_its_items_and_tokens_are_bounded():
    it = scheduler(max_batch=1, max_waiting=1, max_waiting_tokens=100)
    it.add([reading(n, 30, group=1) for n in range(1, 9)])
    with pytest.raises(errors.ResourceExhaustedError):
        it.add([reading(9, 1)])
    it = scheduler(max_batch=1, max_waiting=1)
    it.add([reading(n, 30, group=1) for n in range(1, 9)])
    it.add([translation(20)])
    assert it.waiting == 2
    with pytest.raises(errors.ResourceExhaustedError):
        it.add([reading(30)])


def test_a_deadline_takes_every_kind_out():
    it = scheduler()
    late = PoolingRequest(
        number=1, group=1, version=1, text=PoolingInput(head="x", tokens=(1,)), deadline=5.0
    )
    it.add([late])
    it.add([translation(2, deadline=5.0)])
    it.add([translation(3)])
    plan = it.schedule(6.0)
    assert sorted(numbers(plan.expired)) == [1, 2]
    assert numbers(plan.prefill) == [3]


@st.composite
def items(draw, number, blocks):
    kind = draw(st.sampled_from(["read", "write", "translate", "search"]))
    if kind == "read":
        return reading(number, draw(st.integers(1, 30)))
    prompt = draw(st.integers(1, 12))
    source = draw(st.integers(1, 20)) if kind == "translate" else 0
    beams = draw(st.integers(2, 4)) if kind == "search" else 1
    longest = block_tables.longest(blocks, prompt, beams)
    limit = min(prompt + draw(st.integers(1, 12)), longest)
    search = None
    if beams > 1:
        search = BeamSearch(
            beams=beams, length_penalty=1, end_ids=frozenset({0}), limit=limit - prompt
        )
    return Sequence(number, 1, range(prompt), limit=limit, source=range(source), search=search)


@settings(max_examples=70, deadline=None)
@given(
    blocks=st.integers(24, 32),
    memory=st.integers(5, 8),
    max_batch=st.integers(1, 6),
    count=st.integers(1, 10),
    data=st.data(),
)
def test_whatever_is_asked_everyone_ends_and_every_block_returns(
    blocks, memory, max_batch, count, data
):
    it = scheduler(blocks, memory, max_batch=max_batch, max_prefill_tokens=24, max_waiting=99)
    alive = [data.draw(items(number, it.blocks)) for number in range(count)]
    for each in alive:
        it.add([each])
    encoded = set()
    for step in range(3000):
        if it.idle:
            break
        plan = it.schedule(step)
        assert plan.items, "no step may be idle while somebody waits"
        assert encoded.isdisjoint(numbers(plan.encode))
        encoded.update(numbers(plan.encode))
        written = {}
        for each in (*plan.prefill, *plan.decode):
            for branch in each.branches:
                last = branch.blocks[(len(each) - 1) // SIZE]
                assert it.blocks.references(last) == 1 or len(each) % SIZE == 0
                written[last] = each
        ended = [*plan.read]
        for each in (*plan.prefill, *plan.decode):
            if len(each) + 1 >= each.limit or data.draw(st.integers(0, 9)) == 0:
                ended.append(each)
            elif each.search is None:
                each.tokens.append(7)
            else:
                parents = data.draw(
                    st.lists(
                        st.integers(0, len(each.branches) - 1),
                        min_size=each.search.beams,
                        max_size=each.search.beams,
                    )
                )
                it.fork(each, [(parent, token) for token, parent in enumerate(parents)])
        it.remove(ended, step)
    assert it.idle
    assert it.blocks.free == it.blocks.total
    assert it.cross_blocks.free == it.cross_blocks.total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=40))
def test_rows_are_packed_once_each_and_never_padded_to_more_than_twice(lengths):
    groups = pack(lengths)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        real = [lengths[row] for row in group]
        assert 2 * sum(real) >= max(real) * len(real)
