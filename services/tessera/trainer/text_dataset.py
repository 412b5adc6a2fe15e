"""The built-in data set: windows of a line of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from tessera.trainer.batch import Keys, gathered
from tessera.trainer.bigram import bigram_loss
from tessera.trainer.corpus import Corpus
from tessera.trainer.sampler import Sampler, Starts, windows


@dataclass(slots=True, kw_only=True)
class TextDataset:
    """Windows of a corpus.

    Args:
        corpus: the two lines of tokens.
        length: tokens of a sequence.
        seed: of the order.
    """

    corpus: Corpus
    length: int
    seed: int
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.sampler = Sampler(tokens=len(self.corpus.train), length=self.length, seed=self.seed)

    def train(self, samples: int, count: int) -> Starts:
        """First tokens of the next sequences."""
        return self.sampler.starts(samples, count)

    def held_out(self, count: int) -> Starts:
        """First tokens of the held-out sequences."""
        return windows(len(self.corpus.held_out), self.length, count)

    def rows(self, split: str, keys: Keys) -> Tensor:
        """Tokens of the sequences that begin at `keys`."""
        line = self.corpus.train if split == "train" else self.corpus.held_out
        return gathered(line, np.asarray(keys, dtype=np.int64), self.length)

    def epoch(self, samples: int) -> int:
        """Epoch after `samples` consumed ones."""
        return self.sampler.epoch(samples)

    def baseline(self, count: int, vocab_size: int) -> float:
        """Loss of the token-bigram model on the very targets that an evaluation of `count` uses."""
        rows = self.rows("held_out", self.held_out(count)).numpy()
        return bigram_loss(self.corpus.train, rows[:, :-1].ravel(), rows[:, 1:].ravel(), vocab_size)
