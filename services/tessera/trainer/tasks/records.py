"""A data set of records, each of which makes samples of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.buckets import BucketSampler
from tessera.trainer.data.keys import Keys
from tessera.trainer.data.table import Table

Row = Mapping[str, NDArray[Any]]
"""A sample: column to values."""

Collate = Callable[[str, Sequence[Row], NDArray[np.int64]], TokenBatch]
"""(split, rows, seeds of the samples [B]) to a batch."""


@dataclass(slots=True, kw_only=True)
class Records:
    """Samples of records; those of about one length make a batch.

    Args:
        tables: of `train` and of `held_out`.
        columns: of tokens; the longest of them is the length of a sample.
        batch_size: samples of one step over all ranks.
        seed: of the order.
        collate: makes the batches.
    """

    tables: Mapping[str, Table]
    columns: tuple[str, ...]
    batch_size: int
    seed: int
    collate: Collate
    _samplers: Mapping[str, BucketSampler] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._samplers = {
            split: BucketSampler(self._lengths(table), self.batch_size, self.seed)
            for split, table in self.tables.items()
        }

    def train(self, samples: int, count: int) -> Keys:
        """Numbers and seeds of the next samples."""
        return self._samplers["train"].keys(samples, count)

    def held_out(self, count: int) -> Keys:
        """Numbers and seeds of the held-out samples."""
        return self._samplers["held_out"].held_out(count)

    def batch(self, split: str, keys: Keys) -> TokenBatch:
        """The samples whose numbers are the first column of `keys`."""
        table = self.tables[split]
        rows = [table.row(index) for index in keys[:, 0].tolist()]
        return self.collate(split, rows, keys[:, 1])

    def examples(self) -> int:
        """Samples of one epoch."""
        return self._samplers["train"].sequences

    def _lengths(self, table: Table) -> NDArray[np.int64]:
        lengths: NDArray[np.int64] = np.max(
            [table.lengths(column) for column in self.columns], axis=0
        )
        return lengths
