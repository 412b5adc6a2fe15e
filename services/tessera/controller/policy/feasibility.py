"""What no pool could ever hold, and which part of a request asks for too much. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tessera.controller.scheduling.figures import quantity
from tessera.controller.scheduling.node import UNKNOWN_MEMORY
from tessera.controller.scheduling.shape import WorkerShape
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Workload

Part = Literal["accelerator", "cpus", "memory", "node_selector", "within", "workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """The part of a request that is too much, and what there is of it."""

    part: Part
    offers: str


def excess(state: SchedulerState, work: Workload) -> Excess | None:
    """What of some work no pool could ever hold; None: one could.

    Where no node has been seen yet, one that is to come could hold anything.
    """
    if not state.table.rows and not state.growth.groups:
        return None
    if _possible(state, work):
        return None
    return Excess(part=_part(state, work), offers=_offers(state))


def _possible(state: SchedulerState, work: Workload) -> bool:
    return any(state.could_ever(work, way) for way in state.ways(work))


def _part(state: SchedulerState, work: Workload) -> Part:
    """The first part without which it would do, from the last that a person would give up."""
    one = _least(work)
    if not _possible(state, one):
        shape = one.sets[0].shape
        without: tuple[tuple[Part, WorkerShape], ...] = (
            ("cpus", replace(shape, cpu=0)),
            ("memory", replace(shape, memory=0)),
            ("node_selector", replace(shape, labels=())),
        )
        for part, less in without:
            if less != shape and _possible(state, _with(one, less)):
                return part
        bare = WorkerShape(
            devices=shape.devices, share=shape.share, slice_topology=shape.slice_topology
        )
        if one.wants_devices and not _possible(state, _with(one, bare)):
            return "accelerator"
        return "cpus"
    if work.level is not None and _possible(state, replace(work, level=None)):
        return "within"
    return "workers"


def _least(work: Workload) -> Workload:
    """One worker of it, or those of one TPU slice."""
    first = work.sets[0]
    if first.shape.slice_topology:
        return work
    return replace(work, sets=(replace(first, min=1, max=1),), level=None)


def _with(work: Workload, shape: WorkerShape) -> Workload:
    return replace(work, sets=(replace(work.sets[0], shape=shape),))


def _offers(state: SchedulerState) -> str:
    """What the pools have in all, for people."""
    totals = {n: amount for n, amount in state.table.totals.items() if 0 < amount < UNKNOWN_MEMORY}
    return ", ".join(quantity(name, amount) for name, amount in sorted(totals.items()))
