"""Held-out losses and measures, over the same samples every time and however many ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from tessera.trainer.batch import Dataset
from tessera.trainer.ranks import Ranks
from tessera.trainer.step.averages import LossAverages, means
from tessera.trainer.step.step import Stepper


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What an evaluation found over so many held-out examples."""

    examples: int
    losses: LossAverages
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """By the names that they are reported under."""
        every = {"examples": self.examples, **self.losses.values, **self.metrics}
        return {f"held_out_{name}": value for name, value in every.items()}


def evaluate(
    stepper: Stepper, dataset: Dataset, ranks: Ranks, *, samples: int, rows: int
) -> HeldOut:
    """Losses in nats per target, and the task's metrics.

    Args:
        stepper: has the model and the objective.
        dataset: gives the samples.
        ranks: the ranks.
        samples: held-out samples at most; 0: all.
        rows: samples that a rank takes at once.
    """
    parallel, objective, device = stepper.parallel, stepper.objective, stepper.device
    keys = np.asarray(dataset.held_out(samples))
    mine = keys[ranks.rank :: ranks.world_size]
    most = -(-len(keys) // ranks.world_size)
    losses = torch.zeros(len(objective.terms), dtype=torch.float64)
    counts = torch.zeros_like(losses)
    measures = torch.zeros(0, dtype=torch.float64)
    parallel.model.eval()
    with torch.no_grad():
        # Every rank makes the same number of passes: each of them is a collective.
        for at in range(0, most, rows):
            part = mine[at : at + rows]
            batch = dataset.batch("held_out", part if len(part) else keys[:1])
            with device.autocast(bf16=stepper.bf16):
                judged = objective.losses_and_metrics(parallel.model, batch.to(device.torch))
            found, measured = (sums.double().to(losses.device) for sums in judged)
            if not len(measures):
                measures = torch.zeros_like(measured)
            if len(part):
                losses += found
                counts += torch.tensor(batch.counts[: len(counts)])
                measures += measured
    parallel.reshard()
    parallel.agree_on_buffers()
    parallel.model.train()
    every = ranks.sum(*losses.tolist(), *counts.tolist(), *measures.tolist())
    terms = objective.terms
    size = len(terms)
    return HeldOut(
        examples=len(keys),
        losses=means(terms, every[:size], every[size : 2 * size]),
        metrics=objective.metrics(every[2 * size :]) if len(keys) else {},
    )
