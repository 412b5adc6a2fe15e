"""Sets room aside for work that comes first and does not fit: conservative backfill. Pure.

What is set aside is judged by the time limits of what runs: work that ends before may use it, other
work may use what is over. Room that nothing with a limit holds is waited for without a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tessera.controller.scheduling.allocation import EndTimes
from tessera.controller.scheduling.columns import Floats, Integers, NodeColumns
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.node_view import NodeView
from tessera.controller.scheduling.packing import BestFit
from tessera.controller.scheduling.placing import NO_ROWS, Ground, PlacedWorker, Spots, find
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import Workload


class MostFree(BestFit):
    """The nodes with the most that is free at the moment: least is waited for."""

    def __init__(self, free: NodeColumns) -> None:
        self._free = free

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:  # noqa: ARG002
        """What is free now, the most first."""
        cpu, memory, devices = seen.table.largest()
        rows = seen.rows
        free: Floats = (
            self._free.cpu[rows] / cpu
            + self._free.memory[rows] / memory
            + 8.0 * self._free.devices[rows].sum(axis=1) / devices
        )
        return -free


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one reservation wants of a row, and what has ended there by then; as one vector."""

    starts: float
    wants: Integers
    ended: Integers


@dataclass(slots=True, kw_only=True)
class Found:
    """The earliest time at which work fits, and where."""

    starts: float
    placed: list[PlacedWorker]


@dataclass(slots=True)
class Reserver:
    """The reservations of one pass."""

    ground: Ground
    times: EndTimes
    now: float
    _wanted: NodeColumns | None = None
    _entries: dict[int, list[Entry]] = field(default_factory=dict)
    _moments: Floats | None = None

    def clear(self) -> None:
        """Set nothing aside any more."""
        table = self.ground.table
        rows = table.kept_rows
        if len(rows):
            table.kept.clear(rows)
            table.kept_until[rows] = np.inf
            table.kept_rows = NO_ROWS
            table.log.extend(rows.tolist())

    def forget_times(self) -> None:
        """Something ends earlier than it did."""
        self._moments = None

    def wanted(self) -> NodeColumns:
        """All that is set aside, or will be once it is free."""
        if self._wanted is None:
            free = self.ground.table.free
            self._wanted = NodeColumns.zeros(*free.devices.shape)
        return self._wanted

    def earliest(
        self, work: Workload, shapes: Sequence[WorkerShape], counts: Sequence[int]
    ) -> Found | None:
        """When work fits beside what is set aside already; None: never with the nodes there are."""
        if self._moments is None:
            self._moments = self.times.times(self.now)
        if (placed := self._at(math.inf, work, shapes, counts)) is None:
            return None
        low, high = 0, len(self._moments)
        while low < high:
            middle = (low + high) // 2
            if self._fits(float(self._moments[middle]), work, shapes, counts):
                high = middle
            else:
                low = middle + 1
        if low == len(self._moments):
            return Found(starts=math.inf, placed=placed)
        starts = float(self._moments[low])
        return Found(starts=starts, placed=self._at(starts, work, shapes, counts) or placed)

    def _ground_at(self, time: float) -> Ground:
        table = self.ground.table
        free = table.free.copy()
        self.times.until(time, self.now, free)
        wanted = self.wanted()
        free.cpu -= wanted.cpu
        free.memory -= wanted.memory
        free.devices -= wanted.devices
        return Ground(table=table.fork(free), policy=MostFree(table.free))

    def _fits(
        self, time: float, work: Workload, shapes: Sequence[WorkerShape], counts: Sequence[int]
    ) -> bool:
        if len(shapes) == 1 and work.level is None and not shapes[0].slice_topology:
            return Spots(self._ground_at(time), shapes[0], math.inf).total() >= counts[0]
        return self._at(time, work, shapes, counts) is not None

    def _at(
        self, time: float, work: Workload, shapes: Sequence[WorkerShape], counts: Sequence[int]
    ) -> list[PlacedWorker] | None:
        return find(self._ground_at(time), work, shapes, counts, math.inf)

    def reserve(self, found: Found) -> None:
        """Set aside what a place needs, as far as it will not come free by then."""
        table = self.ground.table
        wanted = self.wanted()
        # Without a time only what is sure to end counts as ended: the rest is not let go of.
        time = found.starts if math.isfinite(found.starts) else np.finfo(np.float64).max
        ended = NodeColumns.zeros(*table.free.devices.shape)
        self.times.until(time, self.now, ended)
        wants: dict[int, Integers] = {}
        for worker in found.placed:
            row = wants.setdefault(worker.row, np.zeros(2 + ended.devices.shape[1], np.int64))
            row[0] += worker.shape.cpu
            row[1] += worker.shape.memory
            for device in worker.devices:
                row[2 + device] += worker.shape.share or WHOLE
        for number, want in wants.items():
            gone = np.concatenate(
                ([ended.cpu[number], ended.memory[number]], ended.devices[number])
            )
            entry = Entry(starts=found.starts, wants=want, ended=gone)
            self._entries.setdefault(number, []).append(entry)
            wanted.cpu[number] += want[0]
            wanted.memory[number] += want[1]
            wanted.devices[number] += want[2:]
            _keep(table, number, self._entries[number])
        table.kept_rows = np.array(sorted(self._entries))


def _keep(table: NodeTable, row: int, entries: Sequence[Entry]) -> None:
    """Of a row, keep what all its reservations need when the time of each has come."""
    ordered = sorted(entries, key=lambda entry: entry.starts)
    kept = np.zeros_like(ordered[0].wants)
    wanted = np.zeros_like(kept)
    for entry in ordered:
        wanted = wanted + entry.wants
        kept = np.maximum(kept, wanted - entry.ended)
    table.kept.cpu[row], table.kept.memory[row] = kept[0], kept[1]
    table.kept.devices[row] = kept[2:]
    table.kept_until[row] = ordered[0].starts
    table.log.append(row)
