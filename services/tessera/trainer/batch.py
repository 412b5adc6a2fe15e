"""What a model is fed with and measured by, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from tessera.models.inputs import Inputs

Keys = Any
"""What a data set calls its samples: a sequence that can be sliced and has a length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Sequences of tokens; other modalities get batches of their own.

    Args:
        inputs: what the model sees.
        targets: what it has to predict, by the name that the task gives it.
        counts: number of targets of each term of the loss.
        tokens: real tokens that the model reads, padding left out.
    """

    inputs: Inputs
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    counts: tuple[int, ...]
    tokens: int

    def to(self, device: torch.device) -> TokenBatch:
        """The batch on a device."""
        moved = (None if part is None else part.to(device) for part in self.inputs)
        return TokenBatch(
            inputs=Inputs(*moved),  # type: ignore[arg-type]
            targets={name: target.to(device) for name, target in self.targets.items()},
            counts=self.counts,
            tokens=self.tokens,
        )


class Dataset(Protocol):
    """Samples by number: the whole position of a run is how many were consumed."""

    def train(self, samples: int, count: int) -> Keys:
        """Keys of the `count` samples after `samples` consumed ones, in their order."""

    def held_out(self, count: int) -> Keys:
        """Keys of at most `count` held-out samples, always the same; 0: of all."""

    def batch(self, split: str, keys: Keys) -> TokenBatch:
        """The samples of `train` or `held_out` that these keys name, as one batch."""

    def examples(self) -> int:
        """Samples that one epoch trains on; 0: there are no epochs."""
