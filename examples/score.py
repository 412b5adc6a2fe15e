"""How well a model does, beside what needs none. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_LOSS_MARGIN = 0.2
"""Nats by which a loss must be lower: the right token is found a fifth likelier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What was reached.

    Args:
        measure: what the two values are.
        ours: of the model.
        baseline: on the same samples.
        without: what reaches the baseline.
        loss: whether less is better; else the values are shares of 1.
        served: whether ours is of what the served model answered; else its job measured it.
    """

    measure: str
    ours: float
    baseline: float
    without: str
    loss: bool = False
    served: bool = True

    @property
    def enough(self) -> float:
        """What a model must reach to be far above the baseline: of shares, half of the way to 1."""
        return self.baseline - _LOSS_MARGIN if self.loss else (1 + self.baseline) / 2

    @property
    def good(self) -> bool:
        """Whether it is far above the baseline."""
        return self.ours <= self.enough if self.loss else self.ours >= self.enough

    def show(self, value: float) -> str:
        """A value as people read it."""
        return f"{value:.3f} nats" if self.loss else f"{value:.1%}"


def share(said: Iterable[T], right: Iterable[T]) -> float:
    """Which part of what was said is right."""
    hits = [one == other for one, other in zip(said, right, strict=True)]
    return sum(hits) / len(hits)
