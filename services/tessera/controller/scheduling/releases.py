"""When enough will have ended for work to fit, by the time limits of what runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tessera.controller.scheduling.allocation import EndTimes
from tessera.controller.scheduling.columns import Floats, Integers, NodeColumns
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.node_view import slots_by_row
from tessera.controller.scheduling.shape import WorkerShape

NEAR = 16
"""Ends that are looked at first: mostly it is one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReleases:
    """What is free on some rows, and what ends there: one line after another.

    Args:
        rows: of the table, [n].
        free: now, less what is set aside, [n].
        ends: of the lines, in order, [m].
        of: which of the rows a line is of, [m].
        cpu: that it gives back, [m].
        memory: the same, [m].
        places: device by device, where in `free.devices` it is, [m * devices].
        devices: what of it is given back, [m * devices].
    """

    rows: Integers
    free: NodeColumns
    ends: Floats
    of: Integers
    cpu: Floats
    memory: Floats
    places: Integers
    devices: Floats

    def free_at(self, time: float) -> NodeColumns:
        """What is free by then."""
        lines = int(np.searchsorted(self.ends, time, side="right"))
        size, width = self.free.devices.shape
        pairs = lines * (len(self.places) // max(1, len(self.of)))
        devices = sums(self.places[:pairs], self.devices[:pairs], size * width)
        return NodeColumns(
            cpu=self.free.cpu + sums(self.of[:lines], self.cpu[:lines], size),
            memory=self.free.memory + sums(self.of[:lines], self.memory[:lines], size),
            devices=self.free.devices + devices.reshape(size, width),
        )

    def earliest(self, fits: Callable[[NodeColumns], bool]) -> float | None:
        """When it fits at the earliest, infinity where no limit says so; None: never."""
        if not fits(self.free_at(math.inf)):
            return None
        moments = np.unique(self.ends[np.isfinite(self.ends)])
        low, high = 0, min(NEAR, len(moments))
        while high < len(moments) and not fits(self.free_at(float(moments[high - 1]))):
            low, high = high, min(4 * high, len(moments))
        while low < high:
            middle = (low + high) // 2
            if fits(self.free_at(float(moments[middle]))):
                high = middle
            else:
                low = middle + 1
        return float(moments[low]) if low < len(moments) else math.inf


class Releases:
    """What ends in the fleet, as of one moment."""

    def __init__(self, table: NodeTable, times: EndTimes, now: float) -> None:
        self._table = table
        self._ends, self._row, self._held = times.in_order(now)

    def on(self, rows: Integers, wanted: NodeColumns) -> RowReleases:
        """Of some rows; `wanted` is what others have set aside, by row of the table."""
        place = np.full(len(self._table.free.cpu), -1)
        place[rows] = np.arange(len(rows))
        lines = np.flatnonzero(place[self._row] >= 0)
        free = self._table.free.at(rows)
        free.subtract(wanted.at(rows))
        of, held = place[self._row[lines]], self._held.at(lines)
        columns = np.arange(held.devices.shape[1])
        return RowReleases(
            rows=rows,
            free=free,
            ends=self._ends[lines],
            of=of,
            cpu=held.cpu.astype(np.float64),
            memory=held.memory.astype(np.float64),
            places=(of[:, None] * free.devices.shape[1] + columns).ravel(),
            devices=held.devices.ravel().astype(np.float64),
        )

    def ended(self, row: int, time: float) -> Integers:
        """What will have ended on a row, as one vector: processors, memory, each device."""
        lines = np.flatnonzero((self._row == row) & (self._ends <= time) & (self._ends < math.inf))
        width = self._table.free.devices.shape[1]
        total = np.zeros(2 + width, np.int64)
        total[0], total[1] = self._held.cpu[lines].sum(), self._held.memory[lines].sum()
        total[2 : 2 + self._held.devices.shape[1]] = self._held.devices[lines].sum(axis=0)
        return total


def slots_in(table: NodeTable, rows: Integers, free: NodeColumns, shape: WorkerShape) -> Integers:
    """How many workers fit into what is free of rows that they may go to."""
    suits = table.flavour[rows] == table.flavours.get(shape.flavour, -2)
    return slots_by_row(free.cpu, free.memory, free.devices, suits, shape)


def sums(places: Integers, amounts: Floats, size: int) -> Integers:
    """Sums of amounts by place, [size]; exact, as amounts are far below 2**53."""
    total: Integers = np.bincount(places, weights=amounts, minlength=size).astype(np.int64)
    return total
