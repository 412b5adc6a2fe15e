"""Who goes for whom: the cheapest that suffice, not before their time, and no more than needed."""

from __future__ import annotations

import itertools
import random

import pytest
from small_fleets import node, state_of, work

from tessera.controller.scheduling.explain import explain
from tessera.controller.scheduling.preemption import cost
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.shape import WHOLE

TREE = (
    Queue(name="all"),
    Queue(name="q", parent="all", nominal={"H100": 4 * WHOLE}),
    Queue(name="p", parent="all", nominal={"H100": 4 * WHOLE}),
)


def run(state, now, *items):
    for item in items:
        state.arrive(item)
    return schedule(state, now)


def victims(decisions):
    return sorted(each.victim for each in decisions.preemptions)


def test_lower_priority_of_the_same_queue_goes():
    state = state_of(node("n0", 4))
    run(state, 0.0, work("low", 2, priority=0), work("mid", 2, priority=1))
    decided = run(state, 10.0, work("high", 2, priority=2, arrival=10.0))
    assert victims(decided) == ["low"]
    assert decided.preemptions[0].deadline == 40.0
    reasons = explain(state, "high", 10.0)
    assert (reasons[0].code, reasons[0].about["held_by"]) == ("PREEMPTING", "low")
    assert victims(schedule(state, 11.0)) == []
    # Its room is kept: what comes in between does not take it.
    state.finish("low", 12.0)
    state.arrive(work("between", 2, priority=1, arrival=11.0))
    assert [each.workload for each in schedule(state, 12.0).admissions] == ["high"]


def test_equal_priority_does_not_go():
    state = state_of(node("n0", 4))
    run(state, 0.0, work("a", 4, priority=1))
    assert victims(run(state, 1.0, work("b", 4, priority=1, arrival=1.0))) == []


def test_work_that_may_not_be_asked_stays():
    state = state_of(node("n0", 4))
    run(state, 0.0, work("a", 4, preemptible=False))
    assert victims(run(state, 1.0, work("b", 4, priority=1, arrival=1.0))) == []


def test_nobody_goes_before_its_minimum():
    state = state_of(node("n0", 4))
    run(state, 0.0, work("a", 4, min_runtime=100.0))
    assert victims(run(state, 50.0, work("b", 4, priority=1, arrival=50.0))) == []
    assert state.wake_at == 100.0
    assert victims(schedule(state, 99.0)) == []
    assert victims(schedule(state, 100.0)) == ["a"]


def test_what_is_borrowed_is_taken_back():
    state = state_of(node("n0", 8), queues=TREE)
    run(state, 0.0, *(work(f"a{number}", 2, queue="q") for number in range(4)))
    assert len(state.allocations) == 4
    decided = run(state, 5.0, work("mine", 4, queue="p", arrival=5.0))
    assert len(victims(decided)) == 2
    # Nothing more than what is due: a third would leave q less than its own.
    for victim in victims(decided):
        state.finish(victim, 6.0)
    schedule(state, 6.0)
    assert "mine" in state.allocations
    decided = run(state, 7.0, work("more", 2, queue="p", arrival=7.0, priority=9))
    assert victims(decided) == ["mine"]


def test_what_would_be_borrowed_takes_nothing_back():
    state = state_of(node("n0", 8), queues=TREE)
    run(state, 0.0, *(work(f"a{number}", 2, queue="q") for number in range(4)))
    assert victims(run(state, 5.0, work("five", 5, queue="p", arrival=5.0))) == []


def test_the_platform_comes_before_all():
    state = state_of(node("n0", 4), queues=TREE)
    run(state, 0.0, work("a", 4, queue="q", priority=999))
    decided = run(state, 1.0, work("deployment", 2, queue="p", priority=1001, arrival=1.0))
    assert victims(decided) == ["a"]


def test_a_gang_has_only_those_go_that_it_needs():
    state = state_of(*(node(f"n{number}", 4) for number in range(3)))
    run(state, 0.0, *(work(f"a{number}", 4) for number in range(3)))
    decided = run(state, 1.0, work("gang", 4, workers=2, priority=1, arrival=1.0))
    assert len(victims(decided)) == 2


def cheapest(state, item, now):
    """By trying every set: of one worker with whole devices."""
    able = [a for a in state.allocations.values() if a.work.priority < item.priority]
    best = None
    for size in range(1, len(able) + 1):
        for chosen in itertools.combinations(able, size):
            free = {
                name: int((state.table.free.devices[row] == WHOLE).sum())
                for name, row in state.table.rows.items()
            }
            for allocation in chosen:
                for worker in allocation.workers:
                    free[worker.node] += len(worker.devices)
            if max(free.values()) >= item.sets[0].shape.devices:
                price = cost(chosen, now)
                best = price if best is None else min(best, price)
    return best


@pytest.mark.parametrize("seed", range(40))
def test_no_other_set_is_cheaper(seed):
    dice = random.Random(seed)
    state = state_of(*(node(f"n{number}", 4, cpu=64) for number in range(3)))
    for number in range(9):
        now = float(number * 7)
        run(
            state,
            now,
            work(
                f"a{number}",
                dice.choice([1, 1, 2, 3]),
                priority=dice.choice([0, 1]),
                arrival=now,
                memory=1,
            ),
        )
    item = work("high", dice.choice([2, 3, 4]), priority=2, arrival=100.0)
    for id_ in list(state.going):
        state.finish(id_, 99.0)
    running = dict(state.allocations)
    for id_ in [work_.id for kind in state.waiting.classes() for work_ in kind.members.values()]:
        state.finish(id_, 99.0)
    expected = cheapest(state, item, 100.0)
    decided = run(state, 100.0, item)
    if "high" in state.allocations:
        return
    chosen = [running[victim] for victim in victims(decided)]
    assert cost(chosen, 100.0) == expected


def test_room_that_others_give_up_is_taken_by_nobody_else():
    """Who left comes back at once, and another comes that is due as much: both wait."""
    state = state_of(node("n0", 8), queues=TREE)
    run(state, 0.0, work("a", 4, queue="q"), work("b", 4, queue="q"))
    decided = run(state, 5.0, work("mine", 2, queue="p", arrival=5.0))
    (victim,) = victims(decided)
    state.finish(victim, 6.0)
    back = work(victim, 4, queue="q", arrival=0.0)
    decided = run(state, 6.0, back, work("other", 3, queue="p", arrival=6.0, priority=9))
    started = [each.workload for each in decided.admissions]
    assert started[0] == "mine"
    assert victim not in started


def test_a_promise_ends_with_its_node():
    state = state_of(node("n0", 4), node("n1", 0))
    run(state, 0.0, work("low", 4))
    run(state, 1.0, work("high", 4, priority=1, arrival=1.0))
    assert "high" in state.promises
    state.put_node(node("n0", 4, cordoned=True))
    schedule(state, 2.0)
    assert "high" not in state.promises
    state.put_node(node("n0", 4))
    state.finish("low", 3.0)
    assert [each.workload for each in schedule(state, 3.0).admissions] == ["high"]
