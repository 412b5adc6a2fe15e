"""What a scheduler without nodes got wrong, each as its kind: wrong admissions, false blocks."""

from __future__ import annotations

import pytest
from small_fleets import node, state_of, work

from tessera.controller.scheduling.explain import explain
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.schedule import schedule


def hold(state, id_, *args, now=0.0, **more):
    """Work that runs, on the node where it must go."""
    state.arrive(work(id_, *args, **more))
    schedule(state, now)
    assert id_ in state.allocations
    return next(iter(state.allocations[id_].nodes))


def asked(state, *args, now=1.0, **more):
    """Whether work that is sent now starts."""
    state.arrive(work("asked", *args, arrival=now, **more))
    schedule(state, now)
    return "asked" in state.allocations


# What is admitted is placed: on nodes, not on sums.


def test_processors_of_two_nodes_are_not_one_worker():
    state = state_of(node("n0", cpu=4), node("n1", cpu=4))
    hold(state, "a", cpu=2)
    assert hold(state, "b", cpu=2, workers=1) in {"n0", "n1"}
    # Packed: both on one node, and three processors are free on the other.
    assert asked(state, cpu=3)
    state = state_of(node("n0", cpu=4), node("n1", cpu=4))
    hold(state, "ab", cpu=2, workers=3)
    assert not asked(state, cpu=3)
    assert explain(state, "asked", 1.0)[0].code == "NO_ROOM"
    state = state_of(node("n0", cpu=4), node("n1", cpu=4))
    hold(state, "first", cpu=3, workers=2)
    assert not asked(state, cpu=2)
    assert explain(state, "asked", 1.0)[0].code == "FRAGMENTED"


def test_another_flavour_does_not_do():
    state = state_of(node("h", 8), node("a", 8, flavour="A100"))
    assert hold(state, "held", 8, flavours=("H100",)) == "h"
    assert not asked(state, 4, flavours=("H100",))
    (reason,) = explain(state, "asked", 1.0)
    assert (reason.code, reason.about["held_by"]) == ("NO_ROOM", "held")


def test_shares_are_of_one_device():
    state = state_of(node("n0", 2))
    hold(state, "a", share=600)
    hold(state, "b", share=600)
    assert not asked(state, share=800)
    assert explain(state, "asked", 1.0)[0].code == "FRAGMENTED"
    state.finish("a", 2.0)
    schedule(state, 2.0)
    assert "asked" in state.allocations


def test_a_slice_is_taken_whole_or_not_at_all():
    def host(name, slice_name):
        return node(name, 4, flavour="TPU-V6E", slice_name=slice_name, slice_topology="2x4", cpu=16)

    one = work("one", 4, workers=2, flavours=("TPU-V6E",))
    shape = one.sets[0].shape
    on_slice = {"devices": 4, "workers": 2, "flavours": ("TPU-V6E",), "slice_topology": "2x4"}
    assert shape.devices == 4
    state = state_of(host("a0", "a"), host("b0", "b"))
    assert not asked(state, **on_slice)
    state = state_of(host("a0", "a"), host("a1", "a"), host("b0", "b"))
    assert asked(state, **on_slice)
    assert state.allocations["asked"].nodes == {"a0", "a1"}
    state = state_of(host("a0", "a"), host("a1", "a"))
    # A part of a slice is nobody's, be it a worker on a host or a process without chips.
    assert not asked(state, 4, flavours=("TPU-V6E",))
    assert not asked(state_of(host("a0", "a"), host("a1", "a")))


def test_a_mig_instance_is_a_device_of_its_own():
    state = state_of(node("n0", 2, flavour="A100"), node("n1", 3, flavour="A100-MIG-3g.20gb"))
    assert asked(state, 1, flavours=("A100-MIG-3g.20gb",), workers=3)
    state.arrive(work("gpu", 3, arrival=2.0))
    schedule(state, 2.0)
    # Whoever takes any GPU does not take a part of one.
    assert explain(state, "gpu", 2.0)[0].code == "EXCEEDS_EVERY_POOL"


def test_memory_is_a_resource():
    state = state_of(node("n0", 8, memory=16))
    hold(state, "a", 1, memory=12)
    assert not asked(state, 1, memory=8)


# Work waits for what it competes for, and for nothing else.


def test_work_that_waits_for_one_flavour_does_not_hold_up_another():
    state = state_of(node("h", 8), node("a", 8, flavour="A100"))
    hold(state, "held", 8, flavours=("H100",))
    state.arrive(work("waits", 8, flavours=("H100",), priority=9))
    schedule(state, 0.5)
    assert "waits" in state.waiting
    assert asked(state, 8, flavours=("A100",))


def test_a_gang_that_only_large_nodes_hold_leaves_small_ones_alone():
    state = state_of(
        *(node(f"big{number}", cpu=16, memory=256, domain="big") for number in range(2)),
        node("small", cpu=4),
    )
    hold(state, "held", cpu=10, workers=2)
    state.arrive(work("gang", cpu=16, workers=2))
    schedule(state, 0.5)
    assert asked(state, cpu=1)
    assert state.allocations["asked"].nodes == {"small"}


def test_a_deployment_that_waits_blocks_no_other_kind():
    state = state_of(node("h", 2), node("c", cpu=4))
    hold(state, "held", 2)
    state.arrive(work("deployment", 1, priority=1001, preemptible=False))
    state.arrive(work("other", 1, priority=1001, preemptible=False))
    # What runs has not run its minimum, so nobody goes for them.
    state.allocations["held"].work = work("held", 2, min_runtime=1e6)
    schedule(state, 0.5)
    assert asked(state, cpu=2)


def test_small_work_passes_a_wide_one_where_it_ends_before():
    """What kept five jobs waiting beside three free processors."""
    state = state_of(node("n0", cpu=8))
    hold(state, "running", cpu=4, limit=600.0)
    state.arrive(work("wide", cpu=6, arrival=0.5))
    schedule(state, 0.5)
    assert state.reservations["wide"].starts == 600.0
    assert asked(state, cpu=1)  # Two are over beside the wide one.
    state.arrive(work("long", cpu=2, arrival=2.0))
    schedule(state, 2.0)
    (reason,) = explain(state, "long", 2.0)
    assert (reason.code, reason.about["for"]) == ("RESERVED", "wide")
    state.arrive(work("brief", cpu=2, limit=500.0, arrival=3.0))
    schedule(state, 3.0)
    assert "brief" in state.allocations
    assert "long" in state.waiting


# Reasons are true after the pass.


def test_the_reason_names_who_took_the_room_in_the_same_pass():
    state = state_of(node("n0", cpu=8))
    state.arrive(work("wide", cpu=7, arrival=0.0))
    state.arrive(work("late", cpu=2, arrival=1.0))
    schedule(state, 1.0)
    (reason,) = explain(state, "late", 1.0)
    assert (reason.code, reason.about["held_by"]) == ("NO_ROOM", "wide")


def test_the_reason_names_for_whom_room_is_kept():
    state = state_of(node("n0", 4, cpu=8))
    hold(state, "running", 2, cpu=1, limit=100.0)
    state.arrive(work("gang", 4, cpu=7, arrival=1.0))
    state.arrive(work("late", cpu=1, memory=1, arrival=2.0))
    state.arrive(work("later", 1, cpu=1, arrival=3.0))
    schedule(state, 3.0)
    assert "late" in state.allocations  # One processor is left beside the gang.
    (reason,) = explain(state, "later", 3.0)
    assert (reason.code, reason.about["for"]) == ("RESERVED", "gang")
    assert "a time limit of less than 97 s" in reason.message
    state.finish("gang", 4.0)
    schedule(state, 4.0)
    assert "later" in state.allocations


def test_a_node_that_is_cordoned_drains_or_fails_gets_nothing():
    for state_of_node in (
        {"cordoned": True},
        {"draining": True},
        {"healthy": False},
        {"failures": 3.5},
    ):
        state = state_of(node("n0", 8, **state_of_node))
        assert not asked(state, 1)
        state.put_node(node("n0", 8))
        schedule(state, 2.0)
        assert "asked" in state.allocations


@pytest.mark.parametrize("level", ["host", "domain", "rack"])
def test_topology_is_kept_or_waited_for(level):
    where = {"domain": "d", "rack": "r"}
    state = state_of(node("n0", 4, **where), node("n1", 4, domain="e", rack="s"))
    hold(state, "held", 2, cpu=1)
    assert not asked(state, 2, workers=3, level=level)
    assert explain(state, "asked", 1.0)[0].code in {"EXCEEDS_EVERY_POOL", "TOPOLOGY"}
    state.arrive(work("loose", 2, workers=3, level=level, level_required=False, arrival=2.0))
    schedule(state, 2.0)
    assert "loose" in state.allocations


def test_an_unknown_queue_stops_nobody_else():
    state = state_of(node("n0", 1), queues=(Queue(name="q"),))
    state.arrive(work("lost", 1, queue="none", priority=5))
    assert asked(state, 1)
