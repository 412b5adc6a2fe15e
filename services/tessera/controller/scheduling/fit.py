"""Where workers of one shape fit, kept current by what has changed since the last look. Pure."""

from __future__ import annotations

import numpy as np

from tessera.controller.scheduling.columns import Booleans, Floats, Integers
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.node_view import NodeView, allowed_rows, slots_by_row, view
from tessera.controller.scheduling.packing import Policy
from tessera.controller.scheduling.shape import WorkerShape, slots

NONE = -1
FEW = 8
"""Changes of rows up to which each is looked at by itself."""


class Fit:
    """Slots and scores of every row for one shape.

    Attributes:
        slots: how many workers fit on a row, [rows].
        total: their sum.
        rows: those that have a device of the flavour and that a worker may go to.
        allowed: whether a worker may go to a row, whatever is free there.
    """

    def __init__(self, table: NodeTable, shape: WorkerShape, policy: Policy, *, kept: bool) -> None:
        self._table, self._shape, self._policy = table, shape, policy
        self._kept = kept
        self._version = -1
        self._seen = 0
        self._score: Floats = np.zeros(0)
        self._mine: Booleans = np.zeros(0, np.bool_)
        self._unscored: list[Integers] = []
        self.allowed: Booleans = np.zeros(0, np.bool_)
        self.slots: Integers = np.zeros(0, np.int64)
        self.rows: Integers = np.zeros(0, np.int64)
        self.total = 0

    def sync(self) -> None:
        """Look at what has changed."""
        table = self._table
        if self._version != table.version:
            self._renew()
            return
        if len(table.log) == self._seen:
            return
        changed = table.log.since(self._seen)
        self._seen = len(table.log)
        if len(changed) <= FEW:
            for row in set(changed.tolist()):
                if self._mine[row]:
                    self._recount(row)
            return
        changed = changed[self._mine[changed]]
        if len(changed):
            self._update(np.unique(changed) if len(changed) > 1 else changed)

    def _renew(self) -> None:
        """Nodes have come, gone or changed: look at all."""
        table = self._table
        self._version = table.version
        self._seen = len(table.log)
        self.allowed = allowed_rows(table, self._shape)
        suited = table.having(self._shape.flavour) if self._shape.flavour else True
        self._mine = self.allowed & suited
        self.rows = np.flatnonzero(self._mine)
        self.slots = np.zeros(len(table.free.cpu), np.int64)
        self._score = np.full(len(table.free.cpu), np.inf)
        self.total = 0
        self._update(self.rows)

    def _update(self, rows: Integers) -> None:
        """Count anew on rows that a worker may go to."""
        seen = self._view(rows)
        counts = slots_by_row(seen.cpu, seen.memory, seen.devices, seen.suits, self._shape)
        self.total += int(counts.sum()) - int(self.slots[rows].sum())
        self.slots[rows] = counts
        self._unscored.append(rows)

    def score_of(self, row: int) -> float:
        """What the policy gave a row that it has chosen."""
        return float(self._score[row])

    def _recount(self, row: int) -> None:
        """The same of one row, without the cost of columns."""
        table = self._table
        cpu, memory = int(table.free.cpu[row]), int(table.free.memory[row])
        devices = table.free.devices[row].tolist()
        if self._kept and len(table.kept_rows) and (kept := table.kept_of(row)):
            cpu, memory = cpu - kept[0], memory - kept[1]
            devices = [free - aside for free, aside in zip(devices, kept[2:], strict=True)]
        count = slots(cpu, memory, devices, table.node(row).devices, self._shape)
        self.total += count - int(self.slots[row])
        self.slots[row] = count
        self._unscored.append(np.array([row]))

    def _rate(self) -> None:
        """Score what has changed since somebody was to choose."""
        if not self._unscored:
            return
        rows = self._unscored[0]
        if len(self._unscored) > 1:
            rows = np.unique(np.concatenate(self._unscored))
        self._unscored.clear()
        self._score[rows] = np.inf
        rows = rows[self.slots[rows] > 0]
        if len(rows):
            self._score[rows] = self._policy.score(self._view(rows), self._shape)

    def _view(self, rows: Integers) -> NodeView:
        return view(self._table, rows, self._shape, kept=self._kept)

    def choose(self, within: Integers | None = None) -> int:
        """The best row, of some; NONE: no worker fits there."""
        if self._policy.volatile:
            rows = np.flatnonzero(self.slots) if within is None else within[self.slots[within] > 0]
            if not len(rows):
                return NONE
            return int(rows[np.argmin(self._policy.score(self._view(rows), self._shape))])
        self._rate()
        if within is None:
            best = int(self._score.argmin())
        elif len(within):
            best = int(within[self._score[within].argmin()])
        else:
            return NONE
        return best if self.slots[best] > 0 else NONE
