"""A scheduler's state as JSON, and back: it decides as what was saved would have. Pure."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tessera.controller.scheduling.allocation import AllocatedWorker
from tessera.controller.scheduling.decisions import NodeReservation
from tessera.controller.scheduling.node import Node, NodeGroup
from tessera.controller.scheduling.packing import Policy
from tessera.controller.scheduling.placing import PlacedWorker
from tessera.controller.scheduling.promise import Promise
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.quota import Claim
from tessera.controller.scheduling.shape import WorkerShape
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Hold, WorkerSet, Workload

Json = dict[str, Any]


def dump(state: SchedulerState) -> Json:
    """All that decisions depend on, but for the placement policy; `json.dumps` takes it."""
    table = state.table
    return {
        "rows": table.size,
        "nodes": [
            {"row": row, **_node(node)} for row, node in enumerate(table.nodes) if node is not None
        ],
        "places": list(table.place_numbers),
        "groups": [
            {**_plain(group), "template": _node(group.template)}
            for group in state.growth.groups.values()
        ],
        "growth": state.growth.dump(),
        "queues": [_queue(branch.queue) for branch in state.quotas.branches.values()],
        "means": {
            name: {"at": branch.history.at, "mean": branch.history.mean}
            for name, branch in state.quotas.branches.items()
        },
        **_workloads(state),
        **_aside(state),
        "kept": [_kept(state, row) for row in table.kept_rows.tolist()],
        "fresh": [kind.head().id for kind in state.fresh if kind.members],
        "changed": state.changed,
        "wake_at": state.wake_at,
    }


def _workloads(state: SchedulerState) -> Json:
    return {
        "waiting": [
            {**_work(work), "stopped": kind.stopped}
            for kind in state.waiting.classes()
            for work in kind.members.values()
        ],
        "held": [_work(work) for work in state.waiting.held.values()],
        "allocations": [
            {
                "work": _work(allocation.work),
                "start": allocation.start,
                "checkpoint": allocation.checkpoint,
                "deadline": allocation.deadline,
                "preempted_by": allocation.preempted_by,
                "workers": [_worker(worker) for worker in allocation.workers],
            }
            for allocation in state.allocations.values()
        ],
    }


def _aside(state: SchedulerState) -> Json:
    return {
        "reservations": [_plain(item) for item in state.reservations.values()],
        "promises": {
            id_: {
                **_plain(promise),
                "placed": [
                    {**_plain(worker), "shape": _shape(worker.shape)} for worker in promise.placed
                ],
            }
            for id_, promise in state.promises.items()
        },
        "search_at": state.search_at,
        "claims": {id_: _plain(claim) for id_, claim in state.quotas.claims.items()},
    }


def load(saved: Json, policy: Policy | None = None) -> SchedulerState:
    """The state that was saved, with a policy."""
    state = SchedulerState(policy)
    table = state.table
    for level, name in saved["places"]:
        table.place_numbers[level, name] = len(table.place_numbers)
    table.restore(saved["rows"], {item["row"]: _node_of(item) for item in saved["nodes"]})
    for item in saved["groups"]:
        fields = {**item, "template": _node_of(item["template"])}
        state.put_group(NodeGroup(**fields))
    state.growth.load(saved["growth"])
    state.put_queues(*(Queue(**item) for item in saved["queues"]))
    for item in saved["allocations"]:
        workers = [_worker_of(worker) for worker in item["workers"]]
        allocation = state.hold(_work_of(item["work"]), workers, item["start"])
        allocation.checkpoint = item["checkpoint"]
        if item["deadline"] is not None:
            state.preempt(allocation, deadline=item["deadline"], by=item["preempted_by"])
    for name, means in saved["means"].items():
        history = state.quotas.branches[name].history
        history.at, history.mean = means["at"], dict(means["mean"])
    _load_waiting(state, saved)
    return state


def _load_waiting(state: SchedulerState, saved: Json) -> None:
    for item in saved["held"]:
        state.arrive(_work_of(item))
    for item in saved["waiting"]:
        fields = dict(item)
        stopped = fields.pop("stopped")
        work = _work_of(fields)
        state.arrive(work)
        state.waiting.class_of(work.id).stopped = stopped
    for item in saved["reservations"]:
        fields = {**item, "nodes": tuple(item["nodes"])}
        state.reservations[item["workload"]] = NodeReservation(**fields)
    state.search_at = dict(saved["search_at"])
    for id_, item in saved["promises"].items():
        placed = tuple(_placed_of(worker) for worker in item["placed"])
        state.promises[id_] = Promise(**{**item, "placed": placed, "nodes": tuple(item["nodes"])})
    for id_, item in saved["claims"].items():
        state.quotas.restore(id_, Claim(**item))
    state.table.keep(
        {
            item["row"]: (math.inf if item["until"] is None else item["until"], item["amounts"])
            for item in saved["kept"]
        }
    )
    state.fresh = {state.waiting.class_of(id_): None for id_ in saved["fresh"]}
    state.changed, state.wake_at = saved["changed"], saved["wake_at"]


def copy(state: SchedulerState) -> SchedulerState:
    """A state to try things on."""
    return load(dump(state), state.ground.policy)


def _plain(item: Any) -> Json:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def _node(node: Node) -> Json:
    return {**_plain(node), "labels": dict(node.labels), "devices": list(node.devices)}


def _node_of(item: Json) -> Node:
    fields = {name: value for name, value in item.items() if name != "row"}
    return Node(**{**fields, "devices": tuple(item["devices"])})


def _queue(queue: Queue) -> Json:
    amounts = {name: dict(getattr(queue, name)) for name in ("nominal", "borrowing", "lending")}
    return {**_plain(queue), **amounts}


def _shape(shape: WorkerShape) -> Json:
    labels = [list(pair) for pair in shape.labels]
    return {**_plain(shape), "labels": labels, "excluded": sorted(shape.excluded)}


def _shape_of(item: Json) -> WorkerShape:
    labels = tuple((name, value) for name, value in item["labels"])
    return WorkerShape(**{**item, "labels": labels, "excluded": frozenset(item["excluded"])})


def _work(work: Workload) -> Json:
    return {
        **_plain(work),
        "flavours": list(work.flavours),
        "sets": [{**_plain(item), "shape": _shape(item.shape)} for item in work.sets],
        "hold": _plain(work.hold) if work.hold else None,
    }


def _work_of(item: Json) -> Workload:
    sets = tuple(WorkerSet(**{**each, "shape": _shape_of(each["shape"])}) for each in item["sets"])
    hold = Hold(**item["hold"]) if item["hold"] else None
    fields = {**item, "sets": sets, "flavours": tuple(item["flavours"]), "hold": hold}
    return Workload(**fields)


def _worker(worker: AllocatedWorker) -> Json:
    fields = {**_plain(worker), "shape": _shape(worker.shape), "devices": list(worker.devices)}
    fields.pop("line")
    return fields


def _worker_of(item: Json) -> AllocatedWorker:
    fields = {**item, "shape": _shape_of(item["shape"]), "devices": tuple(item["devices"])}
    return AllocatedWorker(**fields)


def _placed_of(item: Json) -> PlacedWorker:
    fields = {**item, "shape": _shape_of(item["shape"]), "devices": tuple(item["devices"])}
    return PlacedWorker(**fields)


def _kept(state: SchedulerState, row: int) -> Json:
    until = float(state.table.kept_until[row])
    return {
        "row": row,
        "until": until if math.isfinite(until) else None,
        "amounts": state.table.kept_of(row),
    }
