"""Samples of classification: texts, and the classes that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.models.inputs import Inputs
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Record
from tessera.trainer.data.table import Sample, Table
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.encoding import with_ids
from tessera.trainer.tasks.frames import framed, framed_pair
from tessera.trainer.tasks.labels import label_ids
from tessera.trainer.tasks.padding import pad, segments
from tessera.trainer.tasks.records import Row


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
        for record, first, other in with_ids(self.tokenizer, records, "text", "text_pair"):
            yield self._sample(record, first, other)

    def _sample(self, record: Record, first: list[int], other: list[int]) -> Sample:
        labels = label_ids(record, "label", self.numbers)
        if len(labels) != 1 and not self.multi:
            description = (
                f"{record.place}: {len(labels)} classes where one is needed; mend the record, or "
                "set `task.multi_label`"
            )
            raise UserError.at("data.columns.label", description, "DATA_SEVERAL_LABELS")
        if "text_pair" in record.values:
            tokens, second = framed_pair(first, other, self.tokenizer.frame(), self.longest)
        else:
            tokens = framed(first, self.tokenizer.frame(), self.longest)
            second = len(tokens)
        return {"tokens": tokens, "second": [second], "labels": labels}


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

    def __call__(self, _split: str, rows: Sequence[Row], _draws: NDArray[np.int64]) -> TokenBatch:
        """Targets are [B] classes, or [B, C] bool where there may be several."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        if self.multi:
            wanted = np.zeros((len(rows), self.classes), dtype=np.bool_)
            for row, found in enumerate(rows):
                wanted[row, found["labels"]] = True
        else:
            wanted = np.concatenate([row["labels"] for row in rows])
        return TokenBatch(
            inputs=Inputs(
                read.ids,
                mask=read.mask,
                index=read.index,
                segments=segments(read, [int(row["second"][0]) for row in rows]),
            ),
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
