"""What a model is fed with, and what it is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Sequences of tokens; other modalities get batches of their own.

    Args:
        tokens: [B, T + 1] int64; the last T of a row are the targets of its first T.
    """

    tokens: Tensor

    @property
    def inputs(self) -> Tensor:
        """[B, T] what the model sees."""
        return self.tokens[:, :-1]

    @property
    def targets(self) -> Tensor:
        """[B, T] what it has to predict."""
        return self.tokens[:, 1:]

    @property
    def count(self) -> int:
        """Number of targets."""
        return int(self.tokens.shape[0] * (self.tokens.shape[1] - 1))

    def to(self, device: torch.device) -> TokenBatch:
        """The batch on a device."""
        return TokenBatch(tokens=self.tokens.to(device))


Objective = Callable[[nn.Module, TokenBatch], Tensor]
"""Sum of the losses of a batch's targets, in nats; the trainer divides by their number."""


Keys = Any
"""What a data set calls its samples: a sequence that can be sliced and has a length."""


class Dataset(Protocol):
    """Sequences by number: the whole position of a run is how many were consumed."""

    def train(self, samples: int, count: int) -> Keys:
        """Keys of the `count` samples after `samples` consumed ones, in their order."""

    def held_out(self, count: int) -> Keys:
        """Keys of at most `count` held-out samples, always the same; 0: of all."""

    def rows(self, split: str, keys: Keys) -> Tensor:
        """[len(keys), T + 1] int64 tokens of samples of `train` or `held_out`."""

    def epoch(self, samples: int) -> int:
        """Epoch after `samples` consumed ones."""


def next_token(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Cross-entropy of the next token, summed over the targets."""
    logits = model(batch.inputs).flatten(0, 1).float()
    return functional.cross_entropy(logits, batch.targets.flatten(), reduction="sum")


def gathered(line: NDArray[Any], starts: NDArray[np.int64], length: int) -> Tensor:
    """[len(starts), length + 1] int64: the windows of a line that begin at `starts`."""
    index = starts[:, None] + np.arange(length + 1)
    return torch.from_numpy(np.asarray(line)[index].astype(np.int64))
