"""Prepares a step: its batches, and what all ranks must agree on before they take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.commands import Commands, Orders
from tessera.trainer.gang import Gang
from tessera.trainer.reporter import Reporter
from tessera.trainer.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A step to come.

    Args:
        batches: of this rank.
        sums: waits for what the ranks agree on, in one sum: targets of every term, tokens, orders.
    """

    batches: list[TokenBatch]
    sums: Callable[[], list[float]]

    def agreed(self) -> tuple[list[float], float, Orders]:
        """Targets and tokens of the step over all ranks, and what rank 0 was told."""
        *counts, tokens, first, second = self.sums()
        return counts, tokens, Orders.from_numbers(first, second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparer:
    """Prepares steps while the one before is still under way, so that no rank waits for another.

    Args:
        dataset: gives the samples.
        commands: of rank 0; the others are told by it.
        reporter: of rank 0, which says whether the run is still wanted.
        terms: number of the loss's.
    """

    settings: Settings
    gang: Gang
    dataset: Dataset
    commands: Commands
    reporter: Reporter
    terms: int

    def prepare(self, samples: int) -> Coming:
        """The step after `samples` consumed ones, on which the ranks begin to agree."""
        batches = self._batches(samples)
        orders = Orders()
        if self.gang.leads:
            self.reporter.check()
            if self.reporter.cancelled:
                self.commands.cancel()
            orders = self.commands.take()
        own = (sum(batch.counts[term] for batch in batches) for term in range(self.terms))
        tokens = sum(batch.tokens for batch in batches)
        sums = self.gang.begin_sum(*own, tokens, *orders.to_numbers())
        return Coming(batches=batches, sums=sums)

    def _batches(self, samples: int) -> list[TokenBatch]:
        settings, gang = self.settings, self.gang
        keys = self.dataset.train(samples, settings.batch_size)
        rows = settings.batch_size // (gang.world_size * settings.grad_accumulation)
        begin = gang.rank * rows * settings.grad_accumulation
        return [
            self.dataset.batch("train", keys[at : at + rows])
            for at in range(begin, begin + rows * settings.grad_accumulation, rows)
        ]
