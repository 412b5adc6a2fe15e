"""What a run minimizes and measures: its task's losses, or the user's own one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from tessera.trainer.batch import TokenBatch
from tessera.trainer.tasks.task import LossTerm, Task

Loss = Callable[[nn.Module, TokenBatch], Tensor]
"""Runs the model on a batch and sums its loss over the targets."""


class Objective(Protocol):
    """Losses by term, each a sum over its own targets."""

    @property
    def terms(self) -> tuple[LossTerm, ...]:
        """The parts of the loss."""

    def losses(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """[terms] sums over the batch's targets, in nats."""

    def losses_and_metrics(self, model: nn.Module, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The same, and [n] sums from which `metrics` are made."""

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """What those of all batches mean, by name."""


@dataclass(frozen=True, slots=True)
class TaskObjective:
    """What a task wants."""

    task: Task

    @property
    def terms(self) -> tuple[LossTerm, ...]:
        """The task's."""
        return self.task.terms

    def losses(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """See `Objective`."""
        return self.task.losses(model(batch.inputs), batch)

    def losses_and_metrics(self, model: nn.Module, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        outputs = model(batch.inputs)
        return self.task.losses(outputs, batch), self.task.measure(outputs, batch)

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """The task's."""
        return self.task.metrics(sums)


@dataclass(frozen=True, slots=True)
class OwnObjective:
    """A loss of the user's: one term, which the first count of a batch belongs to."""

    loss: Loss

    @property
    def terms(self) -> tuple[LossTerm, ...]:
        """The one."""
        return (LossTerm(name="own"),)

    def losses(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """See `Objective`."""
        return self.loss(model, batch).reshape(1)

    def losses_and_metrics(self, model: nn.Module, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """See `Objective`; nothing but the loss is measured."""
        return self.losses(model, batch), torch.empty(0)

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:  # noqa: ARG002 - the protocol's
        """None."""
        return {}
