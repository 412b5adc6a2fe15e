"""Samples of token classification: words, and the class of each."""

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
from tessera.trainer.data.table import Sample
from tessera.trainer.tasks.frames import framed
from tessera.trainer.tasks.labels import label_ids
from tessera.trainer.tasks.padding import pad
from tessera.trainer.tasks.records import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class TagEncoder:
    """Makes samples of records with words and their tags.

    Args:
        tokenizer: of the words.
        longest: tokens of a sequence; words beyond it are left out.
        numbers: of the tags.
    """

    tokenizer: Tokenizer
    longest: int
    numbers: Mapping[str, int]

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`tokens`, `places` of the first token of each word, and its `tags`."""
        frame = self.tokenizer.frame()
        for record in records:
            tags = np.array(label_ids(record, "tags", self.numbers), dtype=np.int64)
            ids, owners = self.tokenizer.encode_words(record.values["tokens"])  # type: ignore[arg-type]
            # A word that the tokenizer drops has no token that could tell its tag, and a space
            # before a word tells nothing of it.
            shown = [
                place
                for place, token in enumerate(ids[: self.longest - frame.one])
                if self.tokenizer.token_text(token).strip()
            ]
            owned = np.array(owners, dtype=np.int64)[shown]
            words, firsts = np.unique(owned, return_index=True)
            yield {
                "tokens": framed(ids, frame, self.longest),
                "places": np.array(shown, dtype=np.int64)[firsts] + len(frame.before),
                "tags": tags[words],
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCollate:
    """Makes batches of words with their tags.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, _split: str, rows: Sequence[Row], _draws: NDArray[np.int64]) -> TokenBatch:
        """Targets are [M] tags, their places among B * T, and their rows."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        width = read.ids.shape[1]
        places = np.concatenate([row["places"] + at * width for at, row in enumerate(rows)])
        tags = np.concatenate([row["tags"] for row in rows])
        return TokenBatch(
            inputs=Inputs(read.ids, mask=read.mask, index=read.index),
            targets={
                "tags": torch.from_numpy(tags),
                "places": torch.from_numpy(places),
                "rows": torch.from_numpy(places // width),
            },
            counts=(len(tags),),
            tokens=read.real,
        )
