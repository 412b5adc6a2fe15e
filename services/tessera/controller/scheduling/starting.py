"""Starts work where it fits now, or where a node group can grow for it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tessera.controller.scheduling.allocation import AllocatedWorker
from tessera.controller.scheduling.columns import Integers
from tessera.controller.scheduling.decisions import Admission, WorkerAssignment
from tessera.controller.scheduling.option import Option
from tessera.controller.scheduling.placing import PlacedWorker, Spots, enough, find, find_spots
from tessera.controller.scheduling.shape import WorkerShape
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.waiting import WorkloadClass
from tessera.controller.scheduling.workload import Workload

MORE_UNITS = 8
"""Units that are asked for beyond those that sums say."""
Tried = set[tuple[Option, float | None]]
"""What has too little room, for a time limit: in a pass there comes to be no more."""


def start(
    state: SchedulerState, kind: WorkloadClass, work: Workload, now: float, tried: Tried
) -> Admission | None:
    """Start one of a class; None: it waits, and nothing has changed."""
    ends = math.inf if work.limit is None else now + work.limit
    ways = state.waiting.ways(kind, state.flavours())
    for option in ways:
        if (option, work.limit) in tried:
            continue
        spots = [Spots(state.ground, shape, ends) for shape in option.shapes]
        if not enough(spots, option.counts):
            tried.add((option, work.limit))
            continue
        if state.quotas.shortage(work.queue, option.amounts) is None:
            placed = find_spots(state.ground, work, spots, option.counts)
            if placed is not None:
                placed += _extend(state, work, option, placed, spots)
                return _admit(state, work, option, placed, now)
    if state.growth.groups:
        for option in ways:
            if state.quotas.shortage(work.queue, option.amounts) is None:
                placed = _grow(state, work, option)
                if placed is not None:
                    tried.clear()
                    return _admit(state, work, option, placed, now)
    return None


def _extend(
    state: SchedulerState,
    work: Workload,
    option: Option,
    placed: Sequence[PlacedWorker],
    spots: Sequence[Spots],
) -> list[PlacedWorker]:
    """Workers beyond the least, as long as there is room and quota; slices stay as they are."""
    more: list[PlacedWorker] = []
    amounts = dict(option.amounts)
    within = _beside(state, work, placed)
    for number, item in enumerate(work.sets):
        shape = option.shapes[number]
        for _ in range(0 if shape.slice_topology else item.max - item.min):
            wanted = dict(amounts)
            for resource, amount in shape.amounts().items():
                wanted[resource] = wanted.get(resource, 0) + amount
            if state.quotas.shortage(work.queue, wanted) is not None:
                break
            worker = spots[number].take(number, within)
            if worker is None:
                break
            more.append(worker)
            amounts = wanted
    return more


def _beside(
    state: SchedulerState, work: Workload, placed: Sequence[PlacedWorker]
) -> Integers | None:
    """The rows where more workers of a gang may go: in its pool, and as near as it wants to be."""
    if work.level is None and state.table.pools == 1:
        return None
    rows = sorted({worker.row for worker in placed})
    if work.level == "host":
        return np.array(rows[:1])
    places = state.table.places[work.level or "pool"]
    within: Integers = np.flatnonzero((places == places[rows[0]]) & (places >= 0))
    return within


def _grow(state: SchedulerState, work: Workload, option: Option) -> list[PlacedWorker] | None:
    """Have groups of one pool make the units that are missing, at once or not at all."""
    for pool in state.growth.pools():
        placed = _grow_pool(state, work, option, pool)
        if placed is not None:
            return placed
    return None


def _grow_pool(
    state: SchedulerState, work: Workload, option: Option, pool: str
) -> list[PlacedWorker] | None:
    asked: list[str] = []
    for shape, count in zip(option.shapes, option.counts, strict=True):
        here = 0 if shape.slice_topology else state.ground.total_in(shape, pool)
        asked += _ask(state, shape, count - here, pool)
    placed = find(state.ground, work, option.shapes, option.counts, math.inf)
    for shape in option.shapes:
        # Each set has room by itself, but not all of them, or not where it must be: one unit more.
        tries = 0
        while placed is None and tries < MORE_UNITS and (more := _ask(state, shape, 1, pool)):
            asked += more
            tries += 1
            placed = find(state.ground, work, option.shapes, option.counts, math.inf)
    used = {state.table.node(worker.row).id for worker in placed or ()}
    for node_id in state.growth.idle(asked, used):
        state.table.remove(node_id)
    return placed


def _ask(state: SchedulerState, shape: WorkerShape, missing: int, pool: str) -> list[str]:
    """Ask groups for as many units as hold the workers that are missing, or for all they make."""
    asked: list[str] = []
    for name, (left, on_one) in state.growth.room(state.table, shape, pool).items():
        units = min(left, max(0, -(-missing // on_one)))
        missing -= units * on_one
        for _ in range(units):
            for node in state.growth.ask(state.growth.groups[name]):
                state.table.put(node)
                asked.append(node.id)
    return asked


def _admit(
    state: SchedulerState,
    work: Workload,
    option: Option,
    placed: Sequence[PlacedWorker],
    now: float,
) -> Admission:
    """Hold what was found."""
    workers = []
    assignments = []
    numbers: dict[int, int] = {}
    ordered = sorted(placed, key=lambda worker: worker.set)
    for worker in ordered:
        node = state.table.node(worker.row)
        index = numbers[worker.set] = numbers.get(worker.set, -1) + 1
        group = state.growth.pending.get(node.id, "")
        assignments.append(
            WorkerAssignment(
                set=work.sets[worker.set].name,
                index=index,
                node="" if group else node.id,
                group=group,
                pending=node.id if group else "",
                devices=worker.devices,
            )
        )
        workers.append(
            AllocatedWorker(
                set=worker.set, node=node.id, shape=worker.shape, devices=worker.devices
            )
        )
    state.waiting.remove(work.id)
    state.hold(work, workers, now, taken=True)
    return Admission(workload=work.id, flavour=option.flavour, workers=tuple(assignments))
