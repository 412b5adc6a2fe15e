"""Quotas, borrowing and lending, shares and turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fleets import node, state_of, work

from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.quota import Quotas
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.usage import HALF_LIFE, UsageHistory


def tree(**limits):
    quotas = Quotas()
    quotas.put(
        Queue(name="all"),
        Queue(name="a", parent="all", nominal={"G": 4}, **limits),
        Queue(name="b", parent="all", nominal={"G": 4}),
    )
    return quotas


def left(quotas, name):
    return quotas.branches[name].available("G")[0]


def test_a_queue_borrows_what_its_sister_leaves():
    quotas = tree()
    assert left(quotas, "a") == 8
    quotas.take("b", {"G": 3}, 0.0)
    assert left(quotas, "a") == 5
    assert quotas.entitled("a", {"G": 4}) is quotas.branches["a"]
    assert quotas.entitled("a", {"G": 5}) is None
    quotas.take("a", {"G": 5}, 0.0)
    assert quotas.branches["a"].borrows(["G"])
    assert quotas.shortage("b", {"G": 1}).missing == 1


def test_limits_of_borrowing_and_lending():
    quotas = tree(borrowing={"G": 1})
    assert left(quotas, "a") == 5
    shortage = quotas.shortage("a", {"G": 6})
    assert (shortage.queue, shortage.borrowing, shortage.ever) == ("a", True, False)
    quotas = tree(lending={"G": 1})
    assert left(quotas, "b") == 5
    assert left(quotas, "a") == 8
    quotas.take("b", {"G": 5}, 0.0)
    assert left(quotas, "a") == 3


def test_what_nobody_limits_is_not_limited():
    assert tree().shortage("a", {"cpu": 1 << 40}) is None


def test_quota_of_a_branch_is_its_childrens():
    quotas = Quotas()
    quotas.put(
        Queue(name="all"),
        Queue(name="team", parent="all", nominal={"G": 4}, borrowing={"G": 0}),
        Queue(name="ada", parent="team"),
        Queue(name="ben", parent="team"),
        Queue(name="other", parent="all", nominal={"G": 4}),
    )
    assert left(quotas, "ada") == 4
    quotas.take("ada", {"G": 3}, 0.0)
    assert left(quotas, "ben") == 1
    assert quotas.shortage("ben", {"G": 2}).queue == "team"
    assert quotas.entitled("ben", {"G": 1}) is quotas.branches["team"]


amounts = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=20)


@given(amounts, st.booleans(), st.booleans())
def test_what_is_given_back_leaves_nothing(steps, lends, borrows):
    limits = {"lending": {"G": 1}} if lends else {}
    limits |= {"borrowing": {"G": 2}} if borrows else {}
    quotas, taken = tree(**limits), []
    before = {name: left(quotas, name) for name in "ab"}
    for name, amount in steps:
        if quotas.shortage(name, {"G": amount}) is None:
            quotas.take(name, {"G": amount}, 0.0)
            taken.append((name, amount))
    assert sum(amount for _, amount in taken) <= 8
    for name, amount in taken:
        quotas.give(name, {"G": amount}, 1.0)
    assert {name: left(quotas, name) for name in "ab"} == before


def test_use_is_forgotten_by_half_lives():
    history = UsageHistory()
    history.change({"G": 8}, 1, 0.0)
    assert history.dominant({"G": 16}, 0.0) == 0.25
    history.change({"G": 8}, -1, HALF_LIFE)
    assert history.dominant({"G": 16}, HALF_LIFE) == pytest.approx(0.125)
    assert history.dominant({"G": 16}, 2 * HALF_LIFE) == pytest.approx(0.0625)
    assert history.dominant({"G": 16, "cpu": 1}, 100 * HALF_LIFE) == pytest.approx(0.0)


def start_order(queues, *items):
    state = state_of(node("n0", 8, cpu=64), queues=queues)
    for item in items:
        state.arrive(item)
    return [each.workload for each in schedule(state, 1.0).admissions]


def test_queues_take_turns_by_weight():
    queues = (
        Queue(name="all"),
        Queue(name="a", parent="all", weight=3.0),
        Queue(name="b", parent="all", weight=1.0),
    )
    items = [work(f"{name}{number}", 1, queue=name) for name in "ab" for number in range(8)]
    started = start_order(queues, *items)
    assert len(started) == 8
    assert sum(name.startswith("a") for name in started) == 6


def test_a_dominant_share_is_of_the_scarcest():
    """One queue asks for processors, one for devices: each has as much of its own."""
    queues = (Queue(name="all"), Queue(name="a", parent="all"), Queue(name="b", parent="all"))
    items = [work(f"a{n}", 0, cpu=8, queue="a") for n in range(8)]
    items += [work(f"b{n}", 1, cpu=1, queue="b") for n in range(8)]
    started = start_order(queues, *items)
    assert [sum(name.startswith(kind) for name in started) for kind in "ab"] == [7, 7]


def test_within_a_queue_priority_comes_first_then_arrival():
    queues = (Queue(name="q"),)
    started = start_order(
        queues,
        work("late", 1, arrival=2.0),
        work("early", 1, arrival=1.0),
        work("high", 1, priority=1, arrival=3.0),
    )
    assert started == ["high", "early", "late"]


def test_the_first_that_waits_for_quota_is_not_overtaken_for_ever():
    queues = (Queue(name="all"), Queue(name="q", parent="all", nominal={"H100": 4000}))
    state = state_of(node("n0", 8, cpu=64), queues=queues)
    state.arrive(work("a", 3))
    state.arrive(work("large", 3, arrival=1.0))
    state.arrive(work("small", 1, arrival=2.0))
    schedule(state, 2.0)
    assert set(state.allocations) == {"a"}
    state.finish("a", 3.0)
    schedule(state, 3.0)
    assert set(state.allocations) == {"large", "small"}


def test_partial_admission_takes_what_there_is():
    state = state_of(node("n0", 6, cpu=64))
    state.arrive(work("elastic", 1, workers=2, most=16))
    schedule(state, 0.0)
    assert len(state.allocations["elastic"].workers) == 6
    state.arrive(work("none", 1, workers=1, most=4))
    schedule(state, 0.0)
    assert "none" in state.waiting
