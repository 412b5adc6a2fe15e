"""The scheduler and its ledger, on snapshots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tessera.controller.policy.demand import Capacity, Demand, add, covers
from tessera.controller.policy.ledger import Reservation, free, services_reservation
from tessera.controller.policy.scheduler import (
    Admission,
    PlacementRequest,
    PoolView,
    Reason,
    Snapshot,
    Wait,
    exceeds,
    schedule,
)

CPU8 = PoolView(capacity=Capacity(pool="a", nodes=({"CPU": 8.0},)))
GPU = PoolView(
    capacity=Capacity(pool="g", nodes=({"CPU": 8.0, "GPU": 2.0, "accelerator_type:H100": 1.0},))
)


def ask(key, workers=1, cpus=1.0, priority=0, **more):
    demand = Demand(workers=workers, cpus=cpus, **more)
    return PlacementRequest(key=key, title=key, demand=demand, priority=priority, rank=key)


def run(*requests, pools=(CPU8,), reservations=()):
    return schedule(Snapshot(pools=pools, reservations=reservations, requests=requests))


def admitted(decisions):
    return [d.key for d in decisions if isinstance(d, Admission)]


def reasons(decisions, key):
    found = next(d for d in decisions if d.key == key)
    assert isinstance(found, Wait)
    return [r.reason for r in found.reasons]


def test_priority_first_then_arrival():
    decisions = run(ask("b", 4), ask("a", 4), ask("c", 4, priority=1))
    assert admitted(decisions) == ["c", "a"]
    assert reasons(decisions, "b") == ["WAITING_FOR_RESOURCES"]


def test_small_work_does_not_pass_large_work_of_its_kind():
    reservations = (Reservation(pool="a", what="job-x", amounts={"CPU": 4.0}),)
    decisions = run(ask("large", 6, priority=2), ask("small", 1), reservations=reservations)
    assert admitted(decisions) == []
    assert reasons(decisions, "small")[0] == "BEHIND_HIGHER_PRIORITY"
    decisions = run(ask("a-large", 6), ask("b-small", 1), reservations=reservations)
    assert reasons(decisions, "b-small")[0] == "BEHIND_EARLIER"


def test_another_kind_takes_only_what_is_left_over():
    reservations = (Reservation(pool="g", what="job-x", amounts={"CPU": 1.0, "GPU": 2.0}),)
    gpu = ask("a-gpu", 1, cpus=6.0, accelerator="GPU", count=1.0)
    decisions = run(gpu, ask("b-cpu", 1), ask("c-cpu", 1), pools=(GPU,), reservations=reservations)
    assert admitted(decisions) == ["b-cpu"]


def test_figures_tell_who_holds_what():
    reservations = (
        services_reservation("a", 2),
        Reservation(pool="a", what="job-x", amounts={"CPU": 5.0}),
    )
    (decision,) = run(ask("j", 4), reservations=reservations)
    message = decision.reasons[0].message
    assert "4 workers with 1 CPU each" in message
    assert "2.25 CPU free of 8 CPU" in message
    assert "parameter service holds 0.75 CPU" in message
    assert "job-x holds 5 CPU" in message


def test_a_hold_blocks_nobody():
    held = PlacementRequest(
        key="a",
        title="a",
        demand=Demand(workers=8, cpus=1),
        rank="a",
        hold=Reason(reason="BACKOFF", message="m"),
    )
    decisions = run(held, ask("b", 8))
    assert admitted(decisions) == ["b"]
    assert reasons(decisions, "a") == ["BACKOFF"]


def test_a_pool_that_does_not_answer_gets_nothing():
    silent = PoolView(capacity=CPU8.capacity, live=False)
    assert reasons(run(ask("a"), pools=(silent,)), "a") == ["NO_POOL"]
    assert admitted(run(ask("a"), pools=(silent, GPU))) == ["a"]


def test_what_no_pool_holds_waits_without_blocking():
    decisions = run(ask("a", 9), ask("b", 8))
    assert reasons(decisions, "a") == ["EXCEEDS_EVERY_POOL"]
    assert admitted(decisions) == ["b"]


def test_accelerator_types():
    wanted = ask("a", 2, accelerator="H100", count=1.0)
    assert admitted(run(wanted, pools=(CPU8, GPU))) == ["a"]
    other = Demand(workers=1, cpus=1, accelerator="B200", count=1.0)
    assert exceeds(other, (CPU8.capacity, GPU.capacity)) == "accelerator"
    assert exceeds(Demand(workers=1, cpus=9), (CPU8.capacity,)) == "cpus_per_worker"
    assert exceeds(Demand(workers=9, cpus=1), (CPU8.capacity,)) == "workers"
    assert exceeds(Demand(workers=8, cpus=1), (CPU8.capacity,)) == ""


def test_a_worker_fits_on_one_node_or_not_at_all():
    split = Capacity(pool="s", nodes=({"CPU": 3.0}, {"CPU": 3.0}))
    assert exceeds(Demand(workers=2, cpus=2), (split,)) == ""
    assert exceeds(Demand(workers=3, cpus=2), (split,)) == "workers"
    assert exceeds(Demand(workers=1, cpus=4), (split,)) == "cpus_per_worker"


requests = st.builds(
    lambda key, workers, cpus, priority, gpu: ask(
        f"{key:04}",
        workers,
        cpus,
        priority,
        **({"accelerator": "GPU", "count": 1.0} if gpu else {}),
    ),
    st.integers(0, 9999),
    st.integers(1, 5),
    st.sampled_from([0.25, 0.5, 1.0, 3.0]),
    st.integers(-1, 1),
    st.booleans(),
)


@given(st.lists(requests, max_size=20, unique_by=lambda r: r.key), st.floats(0, 8))
def test_nothing_is_promised_twice(asked, used):
    reservations = (Reservation(pool="a", what="x", amounts={"CPU": used}),)
    snapshot = Snapshot(pools=(CPU8, GPU), reservations=reservations, requests=tuple(asked))
    decisions = schedule(snapshot)
    assert sorted(d.key for d in decisions) == sorted(r.key for r in asked)
    by_key = {r.key: r for r in asked}
    for view in snapshot.pools:
        pool = view.capacity.pool
        given_out = [
            by_key[d.key].demand.total()
            for d in decisions
            if isinstance(d, Admission) and d.pool == pool
        ]
        room = free(pool, view.capacity.total(), reservations, {})
        assert covers(room, add(*given_out))
    assert schedule(snapshot) == decisions


@given(st.lists(requests, min_size=1, max_size=12, unique_by=lambda r: r.key))
def test_no_equal_kind_passes(asked):
    decisions = run(*asked, pools=(GPU,))
    by_key = {r.key: r for r in asked}
    blocked: set[str] = set()
    for decision in decisions:
        kind = by_key[decision.key].demand.kind
        if isinstance(decision, Admission):
            assert kind not in blocked
        elif decision.reasons[0].reason != "EXCEEDS_EVERY_POOL":
            blocked.add(kind)
