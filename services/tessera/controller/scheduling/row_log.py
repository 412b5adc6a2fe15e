"""Which rows have changed, in order: whoever has read up to somewhere reads on from there. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera.controller.scheduling.columns import Integers


class RowLog:
    """Numbers of rows, of which the last ones are read as a column."""

    def __init__(self) -> None:
        self._rows: Integers = np.zeros(1024, np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, row: int) -> None:
        """A row has changed."""
        if self._size == len(self._rows):
            self._rows = np.append(self._rows, np.zeros_like(self._rows))
        self._rows[self._size] = row
        self._size += 1

    def extend(self, rows: Sequence[int]) -> None:
        """Several have."""
        for row in rows:
            self.append(row)

    def since(self, read: int) -> Integers:
        """What has changed after so many were read; valid until the next change."""
        return self._rows[read : self._size]

    def clear(self) -> None:
        """Forget all: whoever reads begins anew."""
        self._size = 0
