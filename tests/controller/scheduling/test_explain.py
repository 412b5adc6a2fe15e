"""What is said of work that waits is true: whoever removes the named cause sees it start."""

from __future__ import annotations

import json
import random

import pytest
from small_fleets import node, random_nodes, random_queues, random_work, state_of, work

from tessera.controller.scheduling import snapshot
from tessera.controller.scheduling.explain import dry_run, explain, what_if
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.workload import Hold

STEPS = 40


def codes(state, id_, now=0.0):
    return [reason.code for reason in explain(state, id_, now)]


def crowd(seed):
    """A small fleet on which more is wanted than there is."""
    dice = random.Random(seed)
    state = state_of(*random_nodes(dice), queues=random_queues(dice))
    now = 0.0
    for number in range(dice.randint(4, 16)):
        now += dice.choice([0.0, 10.0])
        item = random_work(dice, f"w{number:02}", now)
        state.arrive(item)
        if dice.random() < 0.7:
            schedule(state, now)
    schedule(state, now)
    return state, now


def remove(state, reason, now):
    """Take away the cause that a reason names."""
    about = reason.about
    if reason.code in {"NO_ROOM", "FRAGMENTED", "TOPOLOGY", "PREEMPTING"}:
        names = about["held_by"].split(",")
        assert all(name in state.allocations for name in names), reason
    elif reason.code == "RESERVED":
        names = about["for"].split(",")
        assert all(name in state.reservations for name in names), reason
    elif reason.code == "QUOTA_SET_ASIDE":
        names = about["for"].split(",")
        assert all(name in state.waiting for name in names), reason
    elif reason.code in {"WAITING_FOR_QUOTA", "BORROWING_LIMIT_REACHED"}:
        names = about["used_by"].split(",")
        assert all(name in state.allocations for name in names), reason
    elif reason.code == "EXCEEDS_QUOTA":
        more_quota(state, about["queue"], about["resource"], int(about["missing"]))
        return
    else:
        assert reason.code == "EXCEEDS_EVERY_POOL", reason
        kinds = about["flavours"].split(",")
        for number in range(8):
            state.put_node(
                node(
                    f"more{number}",
                    8,
                    cpu=64,
                    memory=512,
                    flavour=kinds[0] or "H100",
                    domain="more",
                    labels={"zone": "x"},
                )
            )
        return
    for name in names:
        state.finish(name, now)


def more_quota(state, name, resource, missing):
    queue = state.quotas.branches[name].queue
    nominal = {**queue.nominal, resource: queue.nominal.get(resource, 0) + missing}
    state.put_queues(Queue(name=name, parent=queue.parent, nominal=nominal, weight=queue.weight))


def audit(seed):
    """For everything that waits: remove what is named until it runs. Returns how often at once."""
    state, now = crowd(seed)
    waiting = sorted(id_ for kind in state.waiting.classes() for id_ in kind.members)
    at_once = 0
    for id_ in waiting:
        trial, seen = snapshot.copy(state), set()
        for step in range(STEPS):
            reasons = explain(trial, id_, now)
            if not reasons:
                break
            named = (reasons[0].code, tuple(sorted(reasons[0].about.items())))
            assert named not in seen, (seed, id_, reasons)
            seen.add(named)
            remove(trial, reasons[0], now)
            schedule(trial, now)
            at_once += step == 0 and id_ in trial.allocations
        assert id_ in trial.allocations, (seed, id_, explain(trial, id_, now))
    return len(waiting), at_once


@pytest.mark.parametrize("seed", range(30))
def test_whoever_removes_the_named_cause_sees_it_start(seed):
    audit(seed)


@pytest.mark.slow
def test_so_it_is_of_a_thousand_states():
    waiting, at_once = map(sum, zip(*(audit(seed) for seed in range(1000)), strict=True))
    assert waiting > 1000
    assert at_once / waiting > 0.5


@pytest.mark.parametrize("seed", range(30))
def test_a_dry_run_answers_as_the_pass_will(seed):
    state, now = crowd(seed)
    item = random_work(random.Random(-seed), "asked", now)
    told = dry_run(state, item, now)
    assert "asked" not in state.waiting
    state.arrive(item)
    decided = schedule(state, now)
    assert told.decisions == decided
    assert told.reasons == explain(state, "asked", now)
    assert (told.admission is None) == ("asked" not in state.allocations)


@pytest.mark.parametrize("seed", range(30))
def test_a_snapshot_replays_to_the_same_decisions(seed):
    dice = random.Random(seed)
    state, now = crowd(seed)
    copy = snapshot.load(json.loads(json.dumps(snapshot.dump(state))))
    for number in range(10):
        now += dice.choice([0.0, 30.0])
        item = random_work(dice, f"x{number}", now)
        over = dice.sample(sorted(state.allocations), min(1, len(state.allocations)))
        for each in (state, copy):
            each.arrive(item)
            for id_ in over:
                each.finish(id_, now)
        assert schedule(copy, now) == schedule(state, now)
        assert snapshot.dump(copy) == snapshot.dump(state)


def test_what_if_there_were_more():
    state = state_of(node("n0", 2))
    state.arrive(work("a", 2))
    state.arrive(work("b", 2, arrival=1.0))
    schedule(state, 0.0)
    assert codes(state, "b") == ["NO_ROOM"]
    told = what_if(state, "b", [node("n1", 8)], 0.0)
    assert told.admission.workers[0].node == "n1"
    assert "n1" not in state.table.rows
    assert what_if(state, "b", [node("n1", 8, flavour="TPU-V4")], 0.0).admission is None


def test_reasons_name_what_holds_work_back():
    queues = (
        Queue(name="all"),
        Queue(name="q", parent="all", nominal={"H100": 2000}, borrowing={"H100": 1000}),
        Queue(name="p", parent="all", nominal={"H100": 2000}),
    )
    state = state_of(node("n0", 4), node("n1", 4), queues=queues)
    state.arrive(work("late", 1, queue="nowhere"))
    state.arrive(work("branch", 1, queue="all"))
    state.arrive(work("held", 1, hold=Hold(reason="BACKOFF", message="It waits.", until=5.0)))
    state.arrive(work("large", 5, queue="p"))
    state.arrive(work("many", 4))
    state.arrive(work("first", 3))
    state.arrive(work("second", 1, arrival=1.0))
    schedule(state, 0.0)
    assert codes(state, "first") == []
    assert codes(state, "late") == ["QUEUE_NOT_FOUND"]
    assert codes(state, "branch") == ["QUEUE_HAS_CHILDREN"]
    assert codes(state, "held") == ["BACKOFF"]
    assert codes(state, "large") == ["EXCEEDS_EVERY_POOL"]
    assert codes(state, "many") == ["EXCEEDS_QUOTA"]
    (reason,) = explain(state, "second", 0.0)
    assert reason.code == "BORROWING_LIMIT_REACHED"
    assert reason.about["used_by"] == "first"
    assert "1 H100 more than queue q has left are needed; first would free" in reason.message
    assert [each.workload for each in schedule(state, 5.0).admissions] == []
    assert codes(state, "held") == ["BORROWING_LIMIT_REACHED"]
