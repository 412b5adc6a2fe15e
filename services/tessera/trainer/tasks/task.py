"""What every task offers the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from tessera.models.inputs import Outputs
from tessera.models.task import TaskConfig
from tessera.text.file import TokenizerFile
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.data.sources import ReadBlob
from tessera.trainer.ranks import Ranks
from tessera.trainer.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerm:
    """A part of the loss: the mean over its own targets, times its weight."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task makes its data from.

    Args:
        tokenizer: to take; None: one is trained.
        labels: classes that an earlier version of the model had; empty: none are given.
        model_context: in tokens, where it is known before the data is read; 0: it is not.
        first_id: token that an earlier version's decoder begins with; -1: the tokenizer's start.
    """

    settings: Settings
    ranks: Ranks
    read_blob: ReadBlob
    tokenizer: TokenizerFile | None = None
    labels: tuple[str, ...] = ()
    model_context: int = 0
    first_id: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """What a run works on.

    Args:
        tokenizer: of the run.
        dataset: gives the batches.
        task: what the heads of the model do.
        digest: tells one data set from another.
    """

    tokenizer: Tokenizer
    dataset: Dataset
    task: TaskConfig
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is reached without a model, on the very samples of an evaluation.

    Args:
        text: says what does it and how far it comes, in one sentence.
        loss: in the unit of the task's loss, where that makes sense.
        metrics: by the names that the task's own metrics have.
    """

    text: str
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """A task: its data, its loss, and what tells how well it is done."""

    terms: tuple[LossTerm, ...]

    def data(self, context: TaskContext) -> TaskData:
        """Read and prepare the data; every rank calls it.

        Raises:
            UserError: the data does not do.
        """

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[terms] sums over the batch's targets, in nats; the trainer divides by their number."""

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[n] float64: sums over the batch from which `metrics` are made; of a fixed n."""

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """What `measure` summed over all held-out batches and ranks means, by name."""

    def baseline(self, data: TaskData, samples: int) -> Baseline | None:
        """What is reached without a model on `samples` held-out samples (0: all)."""
