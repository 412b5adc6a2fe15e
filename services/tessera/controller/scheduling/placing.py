"""Finds a place for every worker of a gang, or for none. Pure.

Equal workers fit where the slots of the nodes sum up to their number, so that is asked first and
costs one look. Sets of several shapes are placed one after another, the largest first; where that
fails, a bounded search goes through the ways there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tessera.controller.scheduling import tpu
from tessera.controller.scheduling.columns import Integers, NodeColumns
from tessera.controller.scheduling.fit import NONE, Fit
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.packing import Policy
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import Workload

NO_ROWS: Integers = np.zeros(0, np.int64)
SEARCH = 2000
"""Steps of the search for sets of several shapes."""
DOMAINS = 64
"""Domains that are tried for such sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedWorker:
    """A worker of a set on a row, on some of its devices."""

    set: int
    row: int
    shape: WorkerShape
    devices: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Ground:
    """Where places are sought: nodes, and what is known of where shapes fit on them."""

    table: NodeTable
    policy: Policy
    fits: dict[tuple[WorkerShape, bool], Fit] = field(default_factory=dict)

    def fit(self, shape: WorkerShape, *, kept: bool = True) -> Fit:
        """Where a shape fits now; `kept`: what is set aside is left alone."""
        fit = self.fits.get((shape, kept))
        if fit is None:
            fit = self.fits[shape, kept] = Fit(self.table, shape, self.policy, kept=kept)
        fit.sync()
        return fit

    def total_in(self, shape: WorkerShape, pool: str) -> int:
        """How many workers of a shape fit on the nodes of one pool."""
        fit = self.fit(shape)
        sizes = self.table.pool_sizes
        if not sizes.keys() - {pool}:
            return fit.total
        number = self.table.place_numbers.get(("pool", pool or "~"), -2)
        return int(fit.slots[self.table.places["pool"] == number].sum())

    def fork(self, free: NodeColumns) -> Ground:
        """The same nodes with something else free, to try things on."""
        return Ground(table=self.table.fork(free), policy=self.policy)


class Spots:
    """Where workers of one shape may go that end by a time: set-aside room too, if soon enough."""

    def __init__(self, ground: Ground, shape: WorkerShape, ends: float) -> None:
        self._ground, self.shape = ground, shape
        rows = ground.table.kept_rows
        lent = len(rows) and math.isfinite(ends)
        self._lent = rows[ground.table.kept_until[rows] >= ends] if lent else NO_ROWS

    def slots(self) -> Integers:
        """How many fit, by row."""
        open_ = self._ground.fit(self.shape)
        if not len(self._lent):
            return open_.slots
        slots = open_.slots.copy()
        slots[self._lent] = self._ground.fit(self.shape, kept=False).slots[self._lent]
        return slots

    def total(self) -> int:
        """How many fit in all."""
        if not len(self._lent):
            return self._ground.fit(self.shape).total
        return int(self.slots().sum())

    def take(self, set_: int, within: Integers | None) -> PlacedWorker | None:
        """Place one; None: it fits nowhere."""
        kept, row = True, self._ground.fit(self.shape).choose(within)
        if row == NONE and len(self._lent):
            lent = self._lent if within is None else np.intersect1d(self._lent, within)
            kept, row = False, self._ground.fit(self.shape, kept=False).choose(lent)
        if row == NONE:
            return None
        table = self._ground.table
        devices = pick(table, row, self.shape, self._ground.policy, kept=kept)
        table.take(row, self.shape, devices)
        return PlacedWorker(set=set_, row=row, shape=self.shape, devices=devices)


def pick(
    table: NodeTable, row: int, shape: WorkerShape, policy: Policy, *, kept: bool
) -> tuple[int, ...]:
    """Which devices of a node a worker that fits there takes, those not set aside first."""
    if not shape.flavour:
        return ()
    free = table.free.devices[row].tolist()
    names = table.node(row).devices
    aside = table.kept.devices[row].tolist() if len(table.kept_rows) else [0] * len(free)
    need = shape.share or WHOLE
    mine = [device for device, name in enumerate(names) if name == shape.flavour]
    open_ = [device for device in mine if free[device] - aside[device] >= need]
    if shape.share:
        if not open_ and not kept:
            open_ = [device for device in mine if free[device] >= need]
        return (policy.device(free, open_, shape),)
    if not kept:
        others = [device for device in mine if free[device] == WHOLE and device not in open_]
        open_ = [*open_, *others]
    return tuple(sorted(open_[: shape.devices]))


def put_back(table: NodeTable, placed: Sequence[PlacedWorker]) -> None:
    """Undo."""
    for worker in placed:
        table.give(worker.row, worker.shape, worker.devices)


def find(
    ground: Ground,
    work: Workload,
    shapes: Sequence[WorkerShape],
    counts: Sequence[int],
    ends: float,
) -> list[PlacedWorker] | None:
    """Place all of a gang, and take it from what is free.

    Args:
        ground: nodes.
        work: whose sets have these shapes and so many workers.
        shapes: by set.
        counts: by set.
        ends: when it is over at the latest; what is set aside for later may be used until then.

    Returns:
        Its workers; None: it does not fit, and nothing is taken.
    """
    return find_spots(ground, work, [Spots(ground, shape, ends) for shape in shapes], counts)


def enough(spots: Sequence[Spots], counts: Sequence[int]) -> bool:
    """Whether each set fits by itself: all that there is to ask of work with one set."""
    return all(spot.total() >= count for spot, count in zip(spots, counts, strict=True))


def find_spots(
    ground: Ground, work: Workload, spots: Sequence[Spots], counts: Sequence[int]
) -> list[PlacedWorker] | None:
    """The same, where the spots of each set are known."""
    if not enough(spots, counts):
        return None
    if any(spot.shape.slice_topology for spot in spots):
        return _slices(ground.table, spots[0], counts[0])
    if work.level is not None:
        placed = _together(ground, work.level, spots, counts)
        if placed is not None or work.level_required:
            return placed
    if sum(counts) > 1 and ground.table.pools > 1:
        # A gang is one Ray job: it cannot reach from one cluster into another.
        return _together(ground, "pool", spots, counts)
    return _anywhere(ground, spots, counts, None)


def _anywhere(
    ground: Ground, spots: Sequence[Spots], counts: Sequence[int], within: Integers | None
) -> list[PlacedWorker] | None:
    order = sorted(range(len(spots)), key=lambda number: _size(spots[number].shape), reverse=True)
    placed: list[PlacedWorker] = []
    for number in order:
        for _ in range(counts[number]):
            worker = spots[number].take(number, within)
            if worker is None:
                put_back(ground.table, placed)
                if len(spots) == 1:
                    return None
                return _search(ground, spots, counts, within)
            placed.append(worker)
    return placed


def _size(shape: WorkerShape) -> tuple[int, int, int]:
    return shape.devices * WHOLE + shape.share, shape.cpu, shape.memory


def _together(
    ground: Ground, level: str, spots: Sequence[Spots], counts: Sequence[int]
) -> list[PlacedWorker] | None:
    """All of it within one host, NVLink domain, rack or pool: where least is left over."""
    for tried, within in enumerate(_domains(ground.table, level, spots, counts)):
        if tried == DOMAINS:
            break
        placed = _anywhere(ground, spots, counts, within)
        if placed is not None:
            return placed
    return None


def _domains(
    table: NodeTable, level: str, spots: Sequence[Spots], counts: Sequence[int]
) -> Iterator[Integers]:
    """Rows of each domain that has slots enough for every set by itself, the tightest first."""
    places = np.arange(len(table.free.cpu)) if level == "host" else table.places[level]
    known = places >= 0
    enough, room = None, None
    for spot, count in zip(spots, counts, strict=True):
        slots = np.minimum(spot.slots(), sum(counts))
        sums = np.bincount(places[known], weights=slots[known], minlength=1)
        enough = sums >= count if enough is None else enough & (sums >= count)
        room = sums if room is None else room
    assert enough is not None
    assert room is not None
    numbers = np.flatnonzero(enough)
    for number in numbers[np.argsort(room[numbers], kind="stable")].tolist():
        yield np.flatnonzero(places == number)


def _slices(table: NodeTable, spot: Spots, count: int) -> list[PlacedWorker] | None:
    """A worker on each host of whole slices of one pool that are free."""
    slots = spot.slots()
    pools: dict[str, dict[str, list[int]]] = {}
    for row in np.flatnonzero(table.sliced).tolist():
        node = table.node(row)
        pools.setdefault(node.pool, {}).setdefault(node.slice_name, []).append(row)
    for pool in sorted(pools):
        placed = _slices_of(table, pools[pool], spot, count, slots)
        if placed is not None:
            return placed
    return None


def _slices_of(
    table: NodeTable, hosts: dict[str, list[int]], spot: Spots, count: int, slots: Integers
) -> list[PlacedWorker] | None:
    placed: list[PlacedWorker] = []
    for name in sorted(hosts):
        rows = sorted(hosts[name], key=lambda row: table.node(row).id)
        if len(placed) >= count or not whole_slice(table, rows, slots):
            continue
        for row in rows:
            devices = tuple(range(len(table.node(row).devices)))
            table.take(row, spot.shape, devices)
            placed.append(PlacedWorker(set=0, row=row, shape=spot.shape, devices=devices))
    if len(placed) == count:
        return placed
    put_back(table, placed)
    return None


def whole_slice(table: NodeTable, rows: Sequence[int], slots: Integers) -> bool:
    """Whether the hosts of a slice are all here, and each takes one worker on all its chips."""
    first = table.node(rows[0])
    chips = sum(len(table.node(row).devices) for row in rows)
    whole = chips == tpu.chips_of(first.slice_topology)
    return whole and all(slots[row] == 1 for row in rows)


def _search(
    ground: Ground, spots: Sequence[Spots], counts: Sequence[int], within: Integers | None
) -> list[PlacedWorker] | None:
    """Go through the ways to place sets of several shapes, as many as SEARCH allows."""
    table = ground.table
    todo = [
        n
        for n in sorted(range(len(spots)), key=lambda n: _size(spots[n].shape), reverse=True)
        for _ in range(counts[n])
    ]
    steps = 0

    def place(number: int, first: int) -> list[PlacedWorker] | None:
        nonlocal steps
        if number == len(todo):
            return []
        spot = spots[todo[number]]
        slots = spot.slots()
        rows = np.flatnonzero(slots) if within is None else within[slots[within] > 0]
        for row in rows[rows >= first].tolist():
            steps += 1
            if steps > SEARCH:
                return None
            worker = spot.take(todo[number], np.array([row]))
            assert worker is not None
            same = number + 1 < len(todo) and todo[number + 1] == todo[number]
            rest = place(number + 1, row if same else 0)
            if rest is not None:
                return [worker, *rest]
            put_back(table, [worker])
        return None

    return place(0, 0)
