"""Regression: the score of a text, or of two beside one another, as a reranker gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera.data.checks import check_regression
from tessera.data.record import Record
from tessera.models.inputs import Outputs
from tessera.models.task import IDENTITY, SIGMOID
from tessera.models.tasks import REGRESSION
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.encoding import frame_records
from tessera.trainer.tasks.frames import PAIR
from tessera.trainer.tasks.padding import inputs_of, pad
from tessera.trainer.tasks.records import Records, Row
from tessera.trainer.tasks.scores import moments, pearson
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.work import data_of, encoded, examples, sequence_length

LABELS = ("LABEL_0",)
"""What transformers calls the only number that a model gives."""


class Regression:
    """Which score a text has, or two.

    Where all scores lie from 0 to 1, those that are held out among them, the logit's sigmoid is
    the score, and the loss is a cross-entropy, which `BinaryCrossEntropyLoss` of
    sentence-transformers is. Else the logit is the score, and the loss is its distance squared.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.terms: tuple[LossTerm, ...] = (LossTerm(name="score"),)
        self._bounded = False

    def data(self, context: TaskContext) -> TaskData:
        """Texts between a start and an end, with their scores; see `Task`."""
        longest = sequence_length(context, PAIR + 2)
        found = examples(context, roles_of(REGRESSION))
        every = [*found.train, *found.held_out]
        self._bounded = context.ranks.on_main(lambda: check_regression(every))
        encode = ScoreEncoder(tokenizer=found.tokenizer, longest=longest)
        tables = encoded(context, found, encode, ("scores", longest))
        collate = ScoreCollate(tokenizer=found.tokenizer, longest=longest)
        labels = context.labels or LABELS
        made = data_of(context, found, tables, ("tokens",), collate, labels=labels)
        activation = SIGMOID if self._bounded else IDENTITY
        return replace(made, task=replace(made.task, activation=activation))

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1]: cross-entropy of the sigmoid in nats, or the distance squared; see `Task`."""
        logits, wanted = _logits(outputs), batch.targets["scores"]
        if self._bounded:
            found = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        else:
            found = functional.mse_loss(logits, wanted, reduction="sum")
        return found[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[7] float64: the distances squared, and the sums of `pearson`; see `Task`."""
        logits, wanted = _logits(outputs), batch.targets["scores"].double()
        scores = (logits.sigmoid() if self._bounded else logits).double()
        return torch.cat([(scores - wanted).square().sum()[None], moments(scores, wanted)])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Mean distance squared, and correlation with the scores; see `Task`."""
        squares, *rest = sums
        return {"mse": squares / rest[0], "pearson": pearson(rest)}

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """The mean of the scores that are learned from; see `Task`."""
        dataset = data.dataset
        assert isinstance(dataset, Records)
        seen = dataset.tables["train"].line("score").astype(np.float64)
        rows = dataset.held_out(samples)[:, 0].tolist()
        held_out = dataset.tables["held_out"]
        wanted = np.array([held_out.row(row)["score"][0] for row in rows], dtype=np.float64)
        mean = float(seen.mean())
        mse = float(np.square(wanted - mean).mean())
        loss, unit = mse, ""
        if self._bounded:
            # Of zeros alone the mean itself would have no logarithm.
            share = float((seen.sum() + 1) / (len(seen) + 2))
            loss = -float((wanted * np.log(share) + (1 - wanted) * np.log(1 - share)).mean())
            unit = f", and a loss of {loss:.4f} nats"
        text = f"always guessing {mean:.4g}, the mean, has an mse of {mse:.4g}{unit}"
        return Baseline(text=text, loss=loss, metrics={"mse": mse})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEncoder:
    """Makes samples of records with a text, perhaps a second one, and a score.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`tokens`, the place `second` where the second text begins, and `score`."""
        for record, tokens, second in frame_records(self.tokenizer, records, self.longest):
            score = np.array([record.values["score"]], np.float32)
            yield {"tokens": tokens, "second": [second], "score": score}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCollate:
    """Makes batches of texts with their scores.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(
        self, _split: str, rows: Sequence[Row], _sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """Targets are [B] float32 scores."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        scores = np.concatenate([row["score"] for row in rows]).astype(np.float32)
        return TokenBatch(
            inputs=inputs_of(read, [int(row["second"][0]) for row in rows], self.tokenizer.frame()),
            targets={"scores": torch.from_numpy(scores)},
            counts=(len(rows),),
            tokens=read.real,
        )


def _logits(outputs: Outputs) -> Tensor:
    """[B] float32, in which close scores can be told apart."""
    assert outputs.logits is not None
    return outputs.logits[:, 0].float()
