"""Small fleets against a placement by trying everything: nothing wrong is admitted, nothing blocked
that could be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import placeable, random_nodes, random_queues, random_work, state_of

from tessera.controller.scheduling.schedule import schedule
from tessera.controller.simulator.auditor import Auditor


def live(seed, steps=12):
    """Work comes and goes on a small fleet; every state after a pass is held to the rules."""
    dice = random.Random(seed)
    state = state_of(*random_nodes(dice), queues=random_queues(dice))
    auditor = Auditor(state)
    now, sent = 0.0, 0
    for _ in range(steps):
        now += dice.choice([0.0, 5.0, 20.0])
        for _ in range(dice.randint(0, 3)):
            sent += 1
            state.arrive(random_work(dice, f"w{sent:03}", now))
            auditor.sent(f"w{sent:03}")
        running = sorted(state.allocations)
        for id_ in running:
            allocation = state.allocations[id_]
            if allocation.ends <= now or dice.random() < 0.2:
                state.finish(id_, now)
                auditor.over(id_)
        schedule(state, now)
        assert not auditor.problems()
        for kind in state.waiting.classes():
            assert not placeable(state, kind.head(), now), (seed, kind.head(), now)
        assert schedule(state, now).admissions == ()
    return state


@given(st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_nothing_wrong_is_admitted_and_nothing_blocked_that_could_start(seed):
    live(seed)


@pytest.mark.slow
def test_so_it_is_of_many_fleets():
    for seed in range(3000):
        live(seed)
