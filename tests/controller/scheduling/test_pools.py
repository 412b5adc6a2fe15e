"""A gang is one Ray job: all of it is in one pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fleets import node, state_of, work

from tessera.controller.scheduling.explain import explain
from tessera.controller.scheduling.schedule import schedule

COUNTS = st.dictionaries(st.sampled_from(["p", "q", "r"]), st.integers(0, 3), min_size=1)


@given(COUNTS, st.integers(1, 5), st.sampled_from([None, "rack"]))
def test_a_gang_starts_where_one_pool_holds_it_whole(counts, workers, level):
    nodes = [
        node(f"{pool}{number}", 1, pool=pool) for pool, n in counts.items() for number in range(n)
    ]
    state = state_of(*nodes)
    state.arrive(work("a", 1, workers=workers, level=level, level_required=False))
    decided = schedule(state, 0.0)
    assert bool(decided.admissions) == (max(counts.values()) >= workers)
    for admission in decided.admissions:
        assert len({worker.node[0] for worker in admission.workers}) == 1


@pytest.mark.parametrize("held", [0, 1])
def test_more_workers_come_from_the_same_pool(held):
    state = state_of(*(node(f"{pool}{n}", 1, pool=pool) for pool in "pq" for n in range(2)))
    for number in range(held):
        state.arrive(work(f"h{number}", 1, arrival=-1.0))
    state.arrive(work("a", 1, workers=1, most=4))
    admission = schedule(state, 0.0).admissions[-1]
    assert len(admission.workers) == 2 or held
    assert len({worker.node[0] for worker in admission.workers}) == 1


def test_it_waits_for_the_pool_that_will_hold_it():
    state = state_of(*(node(f"{pool}{n}", 1, pool=pool) for pool in "pq" for n in range(2)))
    state.arrive(work("h", 1, workers=1))
    state.arrive(work("i", 1, workers=2, arrival=1.0))
    state.arrive(work("a", 1, workers=2, arrival=2.0))
    schedule(state, 2.0)
    assert explain(state, "a", 2.0)[0].about["held_by"] in {"h", "i"}
    state.finish("h", 3.0)
    assert [admission.workload for admission in schedule(state, 3.0).admissions] == ["a"]
