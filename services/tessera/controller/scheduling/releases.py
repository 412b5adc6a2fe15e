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
        held: what it gives back, [m].
    """

    rows: Integers
    free: NodeColumns
    ends: Floats
    of: Integers
    held: NodeColumns

    def free_at(self, time: float) -> NodeColumns:
        """What is free by then."""
        lines = int(np.searchsorted(self.ends, time, side="right"))
        free = self.free.copy()
        first = slice(0, lines)
        free.add_at(
            self.of[first],
            NodeColumns(
                cpu=self.held.cpu[first],
                memory=self.held.memory[first],
                devices=self.held.devices[first],
            ),
        )
        return free

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
        return RowReleases(
            rows=rows,
            free=free,
            ends=self._ends[lines],
            of=place[self._row[lines]],
            held=self._held.at(lines),
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
