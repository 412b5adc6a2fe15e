"""Sums of a loss's terms to what is reported of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tessera.trainer.tasks.task import LossTerm


@dataclass(frozen=True, slots=True, kw_only=True)
class LossAverages:
    """Mean losses in nats per target.

    Args:
        loss: sum of the terms' means, each times its weight.
        terms: mean of every term by its name.
    """

    loss: float
    terms: Mapping[str, float]

    @property
    def values(self) -> dict[str, float]:
        """By the names that they are reported under; a single term is the loss itself."""
        apart = self.terms if len(self.terms) > 1 else {}
        return {"loss": self.loss, **{f"loss_{name}": mean for name, mean in apart.items()}}


def means(
    terms: Sequence[LossTerm], sums: Sequence[float], counts: Sequence[float]
) -> LossAverages:
    """The means of the terms and their weighted sum.

    Args:
        terms: the parts of the loss.
        sums: of each over all its targets.
        counts: number of those; a term without any adds nothing.
    """
    found = [total / max(1.0, count) for total, count in zip(sums, counts, strict=True)]
    loss = sum(term.weight * mean for term, mean in zip(terms, found, strict=True))
    return LossAverages(
        loss=loss, terms={term.name: mean for term, mean in zip(terms, found, strict=True)}
    )
