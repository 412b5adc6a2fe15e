"""Where workers of one shape fit, kept current by what has changed since the last look. Pure."""

from __future__ import annotations

import numpy as np

from tessera.controller.scheduling.columns import Booleans, Floats, Integers
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.node_view import NodeView, allowed_rows, view
from tessera.controller.scheduling.packing import Policy
from tessera.controller.scheduling.shape import WorkerShape

NONE = -1


class Fit:
    """Slots and scores of every row for one shape.

    Attributes:
        slots: how many workers fit on a row, [rows].
        total: their sum.
        allowed: whether a worker may go to a row, whatever is free there.
    """

    def __init__(self, table: NodeTable, shape: WorkerShape, policy: Policy, *, kept: bool) -> None:
        self._table, self._shape, self._policy = table, shape, policy
        self._kept = kept
        self._version = -1
        self._seen = 0
        self._score: Floats = np.zeros(0)
        self.allowed: Booleans = np.zeros(0, np.bool_)
        self.slots: Integers = np.zeros(0, np.int64)
        self.total = 0

    def sync(self) -> None:
        """Look at what has changed."""
        table = self._table
        if self._version != table.version:
            self._version = table.version
            self._seen = len(table.log)
            self.allowed = allowed_rows(table, self._shape)
            self.slots = np.zeros(len(table.free.cpu), np.int64)
            self._score = np.full(len(table.free.cpu), np.inf)
            self.total = 0
            # Rows without a device of the flavour need no look.
            self._update(np.flatnonzero(self.allowed & self._suited()))
            return
        changed = table.log[self._seen :]
        if changed:
            self._seen = len(table.log)
            self._update(np.array(list(set(changed)) if len(changed) > 1 else changed))

    def _suited(self) -> Booleans:
        if not self._shape.flavour:
            return np.ones(len(self.allowed), np.bool_)
        number = self._table.flavours.get(self._shape.flavour, -2)
        suited: Booleans = (self._table.flavour == number).any(axis=1)
        return suited

    def _update(self, rows: Integers) -> None:
        seen = self._view(rows)
        self.total += int(seen.slots.sum()) - int(self.slots[rows].sum())
        self.slots[rows] = seen.slots
        if self._policy.volatile:
            return
        fits = seen.slots > 0
        if not fits.any():
            self._score[rows] = np.inf
            return
        self._score[rows] = np.where(fits, self._policy.score(seen, self._shape), np.inf)

    def _view(self, rows: Integers) -> NodeView:
        return view(self._table, rows, self._shape, self.allowed[rows], kept=self._kept)

    def choose(self, within: Integers | None = None) -> int:
        """The best row, of some; NONE: no worker fits there."""
        if self._policy.volatile:
            rows = np.flatnonzero(self.slots) if within is None else within[self.slots[within] > 0]
            if not len(rows):
                return NONE
            return int(rows[np.argmin(self._policy.score(self._view(rows), self._shape))])
        if within is None:
            best = int(self._score.argmin())
        elif len(within):
            best = int(within[self._score[within].argmin()])
        else:
            return NONE
        return best if self.slots[best] > 0 else NONE
