"""Classification of texts and of pairs of texts: one class each, or any number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera.data.checks import check_one_class
from tessera.data.labels import label_ids
from tessera.data.record import Record
from tessera.models.inputs import Outputs
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample, Table
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.classes import class_metrics, measure_classes, one_hot
from tessera.trainer.tasks.encoding import frame_records
from tessera.trainer.tasks.frames import PAIR
from tessera.trainer.tasks.padding import inputs_of, pad
from tessera.trainer.tasks.records import Records, Row
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.tokens import cross_entropy
from tessera.trainer.tasks.work import (
    classes_for,
    data_of,
    encoded,
    examples,
    sequence_length,
)


@dataclass(slots=True)
class Classification:
    """Which class a text is of, or which classes.

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[LossTerm, ...] = (LossTerm(name="classes"),)

    @property
    def _multi(self) -> bool:
        return self.settings.task.multi_label

    def data(self, context: TaskContext) -> TaskData:
        """Texts between a start and an end, with their classes; see `Task`."""
        longest = sequence_length(context, PAIR + 2)
        found = examples(context, roles_of(self.settings.task.kind, multi_label=self._multi))
        tokenizer = found.tokenizer
        classes = classes_for(context, found, "label")
        labels, numbers = classes.names, classes.numbers
        encode = ClassEncoder(
            tokenizer=tokenizer, longest=longest, numbers=numbers, multi=self._multi
        )
        key = ("classes", longest, sorted(numbers.items()), self._multi)
        tables = encoded(context, found, encode, key)
        collate = ClassCollate(
            tokenizer=tokenizer, longest=longest, classes=len(labels), multi=self._multi
        )
        return data_of(context, found, tables, ("tokens",), collate, labels=labels)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1] of the classes: one target a text, or as many as there are classes; see `Task`."""
        logits, wanted = outputs.logits, batch.targets["classes"]
        assert logits is not None
        if not self._multi:
            return cross_entropy(logits, wanted, self.settings.task.label_smoothing)[None]
        # In float32, which autocast sees to for the other loss only.
        logits = logits.float()
        wanted = wanted.to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[2 + 3 C] as `measure_classes`; see `Task`."""
        logits, wanted = outputs.logits, batch.targets["classes"]
        assert logits is not None
        if self._multi:
            return measure_classes(logits > 0, wanted)
        classes = logits.shape[-1]
        return measure_classes(one_hot(logits.argmax(dim=-1), classes), one_hot(wanted, classes))

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Accuracy, where of several classes all must be right, and macro F1; see `Task`."""
        return class_metrics(sums)

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """The frequencies of the classes, and the most frequent one; see `Task`."""
        dataset, labels = data.dataset, data.task.labels
        assert isinstance(dataset, Records)
        train, classes = dataset.tables["train"], len(labels)
        seen = np.bincount(train.line("labels"), minlength=classes)
        held_out = dataset.held_out(samples)[:, 0]
        wanted = multi_hot(dataset.tables["held_out"], held_out, classes)
        if self._multi:
            share = (seen + 1) / (len(train) + 2)
            loss = -float(np.mean(np.where(wanted, np.log(share), np.log(1 - share))))
            guess, said = share > 1 / 2, "what most texts have"
        else:
            share = (seen + 1) / (len(train) + classes)
            loss = -float(np.mean(np.log(share)[wanted.argmax(axis=1)]))
            guess, said = np.arange(classes) == seen.argmax(), f"`{labels[int(seen.argmax())]}`"
        guesses = torch.from_numpy(np.tile(guess, (len(wanted), 1)))
        metrics = class_metrics(measure_classes(guesses, torch.from_numpy(wanted)).tolist())
        text = (
            f"always guessing {said} is right for {metrics['accuracy']:.1%} of the held-out "
            f"texts; the frequencies of the classes have a loss of {loss:.4f} nats"
        )
        return Baseline(text=text, loss=loss, metrics=metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEncoder:
    """Makes samples of records with a text, perhaps a second one, and classes.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
        numbers: of the classes.
        multi: whether a text may have any number of them.
    """

    tokenizer: Tokenizer
    longest: int
    numbers: Mapping[str, int]
    multi: bool

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`tokens`, the place `second` where the second text begins, and `labels`."""
        for record, tokens, second in frame_records(self.tokenizer, records, self.longest):
            labels = label_ids(record, "label", self.numbers)
            if not self.multi:
                check_one_class(record, "label")
            yield {"tokens": tokens, "second": [second], "labels": labels}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCollate:
    """Makes batches of texts with their classes.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
        classes: how many there are.
        multi: whether a text may have any number of them.
    """

    tokenizer: Tokenizer
    longest: int
    classes: int
    multi: bool

    def __call__(
        self, _split: str, rows: Sequence[Row], _sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """Targets are [B] classes, or [B, C] bool where there may be several."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        if self.multi:
            wanted = np.zeros((len(rows), self.classes), dtype=np.bool_)
            for row, found in enumerate(rows):
                wanted[row, found["labels"]] = True
        else:
            wanted = np.concatenate([row["labels"] for row in rows])
        return TokenBatch(
            inputs=inputs_of(read, [int(row["second"][0]) for row in rows], self.tokenizer.frame()),
            targets={"classes": torch.from_numpy(wanted)},
            counts=(wanted.size,),
            tokens=read.real,
        )


def multi_hot(table: Table, rows: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """[N, C] the classes of some rows of a table."""
    found = np.zeros((len(rows), classes), dtype=np.bool_)
    for at, row in enumerate(rows.tolist()):
        found[at, table.columns["labels"].row(row)] = True
    return found
