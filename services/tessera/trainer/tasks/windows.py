"""A data set of windows that are cut out of a line of packed texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.corpus import Corpus
from tessera.trainer.data.keys import Keys
from tessera.trainer.data.sampler import Sampler, windows

Rows = NDArray[np.int64]
Collate = Callable[[str, Rows, NDArray[np.int64]], TokenBatch]
"""(split, rows [B, n], seeds of the samples [B]) to a batch."""


@dataclass(slots=True, kw_only=True)
class Windows:
    """Windows of a corpus, all of one length.

    Args:
        corpus: the two lines of tokens.
        length: tokens from the beginning of one window to that of the next.
        ahead: tokens beyond them that a window shows too, as targets.
        seed: of the order.
        collate: makes the batches.
    """

    corpus: Corpus
    length: int
    ahead: int = 0
    seed: int
    collate: Collate
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.sampler = Sampler(tokens=len(self.corpus.train), length=self.length, seed=self.seed)

    def train(self, samples: int, count: int) -> Keys:
        """First tokens and seeds of the next windows."""
        return self.sampler.keys(samples, count)

    def held_out(self, count: int) -> Keys:
        """First tokens and seeds of the held-out windows."""
        return windows(len(self.corpus.held_out), self.length, count)

    def batch(self, split: str, keys: Keys) -> TokenBatch:
        """The windows that begin at the first column of `keys`."""
        return self.collate(split, self.rows(split, keys), keys[:, 1])

    def examples(self) -> int:
        """Windows of one epoch."""
        return self.sampler.sequences

    def rows(self, split: str, keys: Keys) -> Rows:
        """[B, length + ahead] tokens of windows."""
        line: NDArray[Any] = self.corpus.train if split == "train" else self.corpus.held_out
        places = keys[:, :1] + np.arange(self.length + self.ahead)
        return np.asarray(line[places], dtype=np.int64)
