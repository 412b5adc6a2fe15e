"""Sets room aside for work that comes first and does not fit: conservative backfill. Pure.

What is set aside is judged by the time limits of what runs: work that ends before may use it, other
work may use what is over. Room that nothing with a limit holds is waited for without a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tessera.controller.scheduling.allocation import EndTimes
from tessera.controller.scheduling.columns import Floats, Integers, NodeColumns
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.node_view import NodeView
from tessera.controller.scheduling.option import Option
from tessera.controller.scheduling.packing import BestFit
from tessera.controller.scheduling.placing import Ground, PlacedWorker, find
from tessera.controller.scheduling.releases import Releases, RowReleases, slots_in
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import Workload


class MostFree(BestFit):
    """The nodes with the most that is free at the moment: least is waited for."""

    def __init__(self, free: NodeColumns) -> None:
        self._free = free

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:  # noqa: ARG002
        """What is free now, the most first."""
        return -free_parts(seen.table, self._free, seen.rows)


def free_parts(table: NodeTable, free: NodeColumns, rows: Integers) -> Floats:
    """How much of rows is free, devices above all."""
    cpu, memory, devices = table.largest()
    parts: Floats = (
        free.cpu[rows] / cpu
        + free.memory[rows] / memory
        + 8.0 * free.devices[rows].sum(axis=1) / devices
    )
    return parts


Wanted = tuple[WorkerShape, int]
"""Equal workers, and how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReservation:
    """What one reservation wants of a row, and what has ended there by then; as one vector."""

    starts: float
    wants: Integers
    ended: Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedPlace:
    """The earliest time at which work fits, infinity where no limit says so, and where."""

    starts: float
    placed: list[PlacedWorker]


@dataclass(slots=True)
class Reserver:
    """The reservations of one pass."""

    ground: Ground
    times: EndTimes
    now: float
    _wanted: NodeColumns | None = None
    _entries: dict[int, dict[str, RowReservation]] = field(default_factory=dict)
    _releases: Releases | None = None
    _releases_at: int = -1

    def clear(self) -> None:
        """Set nothing aside any more."""
        table = self.ground.table
        rows = table.kept_rows
        if len(rows):
            table.kept.clear(rows)
            table.kept_until[rows] = np.inf
            table.set_kept_rows(())
            table.log.extend(rows.tolist())

    def wanted(self) -> NodeColumns:
        """All that is set aside, or will be once it is free."""
        if self._wanted is None:
            self._wanted = NodeColumns.zeros(*self.ground.table.free.devices.shape)
        return self._wanted

    def _ending(self) -> Releases:
        if self._releases is None or self._releases_at != self.times.version:
            self._releases_at = self.times.version
            self._releases = Releases(self.ground.table, self.times, self.now)
        return self._releases

    def earliest(self, work: Workload, way: Option) -> ReservedPlace | None:
        """When work fits beside what is set aside already; None: never with the nodes there are."""
        if len(way.shapes) == 1 and not way.shapes[0].slice_topology:
            return self._of_one_set(work, way.shapes[0], way.counts[0])
        table = self.ground.table
        ending = self._ending().on(np.arange(len(table.free.cpu)), self.wanted())

        def placed(free: NodeColumns) -> list[PlacedWorker] | None:
            ground = Ground(table=table.fork(free), policy=MostFree(table.free))
            return find(ground, work, way.shapes, way.counts, math.inf)

        starts = ending.earliest(lambda free: placed(free) is not None)
        if starts is None:
            return None
        return ReservedPlace(starts=starts, placed=placed(ending.free_at(starts)) or [])

    def _of_one_set(self, work: Workload, shape: WorkerShape, count: int) -> ReservedPlace | None:
        table = self.ground.table
        ending = self._ending().on(self.ground.fit(shape).rows, self.wanted())
        places = _places(table, work, ending.rows)

        def groups(free: NodeColumns) -> Integers:
            slots = np.minimum(slots_in(table, ending.rows, free, shape), count)
            return np.bincount(places, weights=slots, minlength=1).astype(np.int64)

        if not len(ending.rows):
            return None
        starts = ending.earliest(lambda free: bool((groups(free)[1:] >= count).any()))
        if starts is None:
            return None
        free = ending.free_at(starts)
        inside = places == 1 + int(np.argmax(groups(free)[1:] >= count))
        slots = np.where(inside, slots_in(table, ending.rows, free, shape), 0)
        placed = _take(table, ending, free, slots, (shape, count))
        return ReservedPlace(starts=starts, placed=placed)

    def release(self, id_: str) -> None:
        """Set nothing aside for some work any more."""
        for row in [row for row, entries in self._entries.items() if id_ in entries]:
            self._want(row, -self._entries[row].pop(id_).wants)
            if not self._entries[row]:
                del self._entries[row]
            self._keep(row)
        self.ground.table.set_kept_rows(tuple(self._entries))

    def reserve(self, id_: str, place: ReservedPlace) -> None:
        """Set aside what a place needs, as far as it will not come free by then."""
        table = self.ground.table
        wants: dict[int, Integers] = {}
        for worker in place.placed:
            vector = wants.setdefault(
                worker.row, np.zeros(2 + table.free.devices.shape[1], np.int64)
            )
            vector[0] += worker.shape.cpu
            vector[1] += worker.shape.memory
            vector[[2 + device for device in worker.devices]] += worker.shape.share or WHOLE
        for row, want in wants.items():
            # Without a time, what is sure to end counts as ended: no more is let go of.
            ended = self._ending().ended(row, place.starts)
            entry = RowReservation(starts=place.starts, wants=want, ended=ended)
            self._entries.setdefault(row, {})[id_] = entry
            self._want(row, want)
            self._keep(row)
        table.set_kept_rows(tuple(self._entries))

    def _want(self, row: int, vector: Integers) -> None:
        wanted = self.wanted()
        wanted.cpu[row] += vector[0]
        wanted.memory[row] += vector[1]
        wanted.devices[row] += vector[2:]

    def _keep(self, row: int) -> None:
        """Of a row, keep what all its reservations need when the time of each has come."""
        table = self.ground.table
        entries = self._entries.get(row, {}).values()
        kept: Integers = np.zeros(2 + table.free.devices.shape[1], np.int64)
        wanted = np.zeros_like(kept)
        for entry in sorted(entries, key=lambda entry: entry.starts):
            wanted = wanted + entry.wants
            kept = np.maximum(kept, wanted - entry.ended)
        table.kept.cpu[row], table.kept.memory[row] = kept[0], kept[1]
        table.kept.devices[row] = kept[2:]
        table.kept_until[row] = min((entry.starts for entry in entries), default=np.inf)
        table.log.append(row)


def _places(table: NodeTable, work: Workload, rows: Integers) -> Integers:
    """Which rows are together for work: numbers from 1 on, 0 for those that are of no use."""
    if work.level is None or not work.level_required:
        if work.workers > 1 and table.pools > 1:
            return 1 + table.places["pool"][rows]
        return np.ones(len(rows), np.int64)
    if work.level == "host":
        return 1 + np.arange(len(rows))
    return 1 + table.places[work.level][rows]


def _take(
    table: NodeTable, ending: RowReleases, free: NodeColumns, slots: Integers, wanted: Wanted
) -> list[PlacedWorker]:
    """Workers on the rows that have the most free now."""
    placed: list[PlacedWorker] = []
    shape, count = wanted
    for line in np.argsort(-free_parts(table, table.free, ending.rows), kind="stable").tolist():
        row, devices = int(ending.rows[line]), free.devices[line].tolist()
        names = table.node(row).devices if shape.flavour else ()
        for _ in range(min(int(slots[line]), count - len(placed))):
            mine = [d for d, name in enumerate(names) if name == shape.flavour]
            need = shape.share or WHOLE
            able = sorted((d for d in mine if devices[d] >= need), key=lambda d: (devices[d], d))
            picked = tuple(able[: shape.devices or bool(shape.share)])
            for device in picked:
                devices[device] -= need
            placed.append(PlacedWorker(set=0, row=row, shape=shape, devices=picked))
        if len(placed) == count:
            break
    return placed
