"""Node groups that can grow: work is promised places on nodes that are still to be made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_fleets import node, state_of, work

from tessera.controller.scheduling.explain import explain
from tessera.controller.scheduling.node import NodeGroup
from tessera.controller.scheduling.schedule import schedule

GROUP = NodeGroup(name="g", template=node("t", 4, cpu=16), max=2)
SLICES = NodeGroup(
    name="s", template=node("t", 4, flavour="TPU-V6E", slice_topology="2x4", cpu=16), max=2
)


def state_with(group, *nodes):
    state = state_of(*nodes)
    state.put_group(group)
    return state


def test_a_group_at_zero_is_asked_to_grow():
    state = state_with(GROUP)
    state.arrive(work("a", 2))
    (admission,) = schedule(state, 0.0).admissions
    (worker,) = admission.workers
    assert (worker.node, worker.group, worker.pending) == ("", "g", "g~1")
    (bound,) = state.put_node(replace(GROUP.template, id="real", group="g"))
    assert (bound.workload, bound.pending, bound.node) == ("a", "g~1", "real")
    assert state.allocations["a"].nodes == {"real"}


def test_what_is_over_on_a_node_that_is_to_come_is_promised_too():
    state = state_with(GROUP)
    state.arrive(work("a", 2))
    state.arrive(work("b", 2, arrival=1.0))
    state.arrive(work("c", 4, arrival=2.0))
    state.arrive(work("d", 1, arrival=3.0))
    decided = schedule(state, 3.0)
    pending = {each.workload: each.workers[0].pending for each in decided.admissions}
    assert pending == {"a": "g~1", "b": "g~1", "c": "g~2"}
    assert explain(state, "d", 3.0)[0].code == "NO_ROOM"


def test_what_is_here_comes_first():
    state = state_with(GROUP, node("n0", 4))
    state.arrive(work("a", 4))
    (admission,) = schedule(state, 0.0).admissions
    assert admission.workers[0].node == "n0"


def test_a_gang_is_promised_all_or_nothing():
    state = state_with(GROUP, node("n0", 4))
    state.arrive(work("a", 4, workers=3))
    (admission,) = schedule(state, 0.0).admissions
    assert [worker.node for worker in admission.workers].count("n0") == 1
    assert len(state.growth.pending) == 2
    state.arrive(work("b", 4, workers=4, arrival=1.0))
    schedule(state, 1.0)
    assert explain(state, "b", 1.0)[0].code == "EXCEEDS_EVERY_POOL"


def test_nodes_that_nobody_wants_any_more_are_not_waited_for():
    state = state_with(GROUP)
    state.arrive(work("a", 4))
    schedule(state, 0.0)
    state.finish("a", 1.0)
    assert not state.growth.pending
    assert not state.table.rows
    state.arrive(work("b", 4))
    schedule(state, 2.0)
    assert state.remove_node("g~2") == ("b",)


def test_a_slice_is_made_whole():
    state = state_with(SLICES)
    ask = work("a", 4, workers=4, flavours=("TPU-V6E",), slice_topology="2x4")
    state.arrive(ask)
    (admission,) = schedule(state, 0.0).admissions
    assert sorted(worker.pending for worker in admission.workers) == [
        "s~1.0",
        "s~1.1",
        "s~2.0",
        "s~2.1",
    ]
    for number in (0, 1):
        host = replace(
            SLICES.template, id=f"x{number}", group="s", slice_name="x", slice_topology="2x4"
        )
        (bound,) = state.put_node(host)
        assert bound.pending == f"s~1.{number}"
    assert {"x0", "x1"} <= state.allocations["a"].nodes


@pytest.mark.parametrize("labels", [{"zone": "x"}, {}])
def test_labels_of_a_group_count(labels):
    group = replace(GROUP, template=replace(GROUP.template, labels=labels))
    state = state_with(group)
    item = work("a", 1)
    shape = replace(item.sets[0].shape, labels=(("zone", "x"),))
    state.arrive(replace(item, sets=(replace(item.sets[0], shape=shape),)))
    assert len(schedule(state, 0.0).admissions) == len(labels)


def test_a_gang_grows_within_one_pool():
    groups = [
        NodeGroup(name=name, template=node("t", 4, cpu=16, pool=name), max=2) for name in "pq"
    ]
    state = state_with(groups[0], node("n0", 4, pool="q"))
    state.put_group(groups[1])
    state.arrive(work("a", 4, workers=3))
    state.arrive(work("b", 4, workers=4, arrival=1.0))
    (admission,) = schedule(state, 1.0).admissions
    assert sorted(worker.node or worker.group for worker in admission.workers) == ["n0", "q", "q"]
    assert not state.could_ever(state.waiting.get("b"), state.waiting.class_of("b").ways[0])
    assert explain(state, "b", 1.0)[0].code == "EXCEEDS_EVERY_POOL"
