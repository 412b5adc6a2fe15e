"""Prepares a step: its batches, and what all ranks must agree on before they take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.control.commands import CommandQueue, StepCommands
from tessera.trainer.control.reporter import Reporter
from tessera.trainer.ranks import Ranks
from tessera.trainer.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingStep:
    """A step to come.

    Args:
        batches: of this rank.
        sums: waits for what the ranks agree on, in one sum: targets of every term, tokens, orders.
    """

    batches: list[TokenBatch]
    sums: Callable[[], list[float]]

    def wait(self) -> tuple[list[float], float, StepCommands]:
        """Targets and tokens of the step over all ranks, and what rank 0 was told."""
        *counts, tokens, first, second = self.sums()
        return counts, tokens, StepCommands.from_numbers(first, second)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrefetcher:
    """Prepares steps while the one before is still under way, so that no rank waits for another.

    Args:
        dataset: gives the samples.
        commands: of rank 0; the others are told by it.
        reporter: of rank 0, which says whether the run is still wanted.
        terms: number of the loss's.
    """

    settings: Settings
    ranks: Ranks
    dataset: Dataset
    commands: CommandQueue
    reporter: Reporter
    terms: int

    def prepare(self, samples: int) -> PendingStep:
        """The step after `samples` consumed ones, on which the ranks begin to agree."""
        batches = self._batches(samples)
        orders = StepCommands()
        if self.ranks.is_main:
            self.reporter.check()
            if self.reporter.cancelled:
                self.commands.cancel()
            orders = self.commands.take()
        own = (sum(batch.counts[term] for batch in batches) for term in range(self.terms))
        tokens = sum(batch.tokens for batch in batches)
        sums = self.ranks.begin_sum(*own, tokens, *orders.to_numbers())
        return PendingStep(batches=batches, sums=sums)

    def _batches(self, samples: int) -> list[TokenBatch]:
        settings, ranks = self.settings, self.ranks
        keys = self.dataset.train(samples, settings.batch_size)
        rows = settings.batch_size // (ranks.world_size * settings.grad_accumulation)
        begin = ranks.rank * rows * settings.grad_accumulation
        return [
            self.dataset.batch("train", keys[at : at + rows])
            for at in range(begin, begin + rows * settings.grad_accumulation, rows)
        ]
