"""What is set aside is there in time: whoever comes later makes nobody before it wait longer."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from small_fleets import node, random_nodes, random_work, state_of, work

from tessera.controller.scheduling.schedule import schedule


def promised(seed, steps=25):
    """Work of one queue and one priority comes and ends; who is first is told ever earlier times.

    Returns:
        How many times were told, and how many of those who were told one started.
    """
    dice = random.Random(seed)
    state = state_of(*random_nodes(dice))
    told, now, sent = {}, 0.0, 0
    for _ in range(steps):
        ends = [a.ends for a in state.allocations.values() if math.isfinite(a.ends)]
        now = min([now + dice.choice([1.0, 5.0, 20.0]), *ends])
        for id_ in sorted(state.allocations):
            if state.allocations[id_].ends <= now or dice.random() < 0.05:
                state.finish(id_, now)
        for _ in range(dice.choice([0, 1, 2])):
            sent += 1
            item = random_work(dice, f"w{sent:03}", now)
            sets = tuple(replace(each, max=each.min) for each in item.sets)
            limit = dice.choice([10.0, 30.0, 80.0])
            item = replace(
                item, sets=sets, queue="q", priority=0, preemptible=False, limit=limit, level=None
            )
            state.arrive(item)
        schedule(state, now)
        # Times told to those behind it may change, as who is first may find a better place.
        if (first := min(state.reservations, default=None)) is not None:
            starts = state.reservations[first].starts
            assert starts is not None
            assert now < starts <= told.get(first, math.inf), (seed, first)
            told[first] = starts
    return len(told), sum(id_ not in state.waiting for id_ in told)


@pytest.mark.parametrize("seed", range(20))
def test_the_first_never_waits_longer_than_it_was_told(seed):
    promised(seed)


@pytest.mark.slow
def test_so_it_is_of_many():
    told, started = map(sum, zip(*(promised(seed) for seed in range(2000)), strict=True))
    assert told > 1000
    assert started > told / 2


def test_room_without_a_time_is_waited_for_too():
    """What has no limit may end at any time: what comes free meanwhile is kept."""
    state = state_of(node("n0", 4, cpu=16))
    state.arrive(work("a", 2))
    state.arrive(work("b", 2))
    schedule(state, 0.0)
    state.arrive(work("large", 4, arrival=1.0))
    state.arrive(work("small", 1, arrival=2.0))
    state.arrive(work("brief", 1, limit=10.0, arrival=3.0))
    state.finish("a", 4.0)
    schedule(state, 4.0)
    assert state.reservations["large"].starts is None
    assert "small" in state.waiting
    assert "brief" in state.allocations
    state.finish("b", 5.0)
    schedule(state, 5.0)
    assert state.reservations["large"].starts == 14.0
    state.finish("brief", 6.0)
    schedule(state, 6.0)
    assert "large" in state.allocations
