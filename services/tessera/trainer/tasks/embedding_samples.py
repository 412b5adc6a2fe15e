"""Samples of sentence embeddings: two texts, and perhaps how much they mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.models.inputs import Inputs
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Record
from tessera.trainer.data.table import Sample
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.encoding import with_ids
from tessera.trainer.tasks.frames import framed
from tessera.trainer.tasks.padding import pad
from tessera.trainer.tasks.records import Row

COLUMNS = ("text", "text_pair")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingEncoder:
    """Makes samples of records with two texts and perhaps a score.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`text`, `text_pair`, and `score`, which is empty where there is none."""
        for record, *pair in with_ids(self.tokenizer, records, *COLUMNS):
            left, right = (framed(ids, self.tokenizer.frame(), self.longest) for ids in pair)
            score = record.values.get("score")
            found = [] if score is None else [score]
            yield {"text": left, "text_pair": right, "score": np.array(found, np.float32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCollate:
    """Makes batches of pairs as 2 B rows, all first texts before all second ones.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, _split: str, rows: Sequence[Row], _draws: NDArray[np.int64]) -> TokenBatch:
        """Targets are [B] scores, if there are any."""
        texts = [row[name] for name in COLUMNS for row in rows]
        read = pad(texts, self.tokenizer.pad_id, self.longest)
        scores = np.concatenate([row["score"] for row in rows]).astype(np.float32)
        return TokenBatch(
            inputs=Inputs(read.ids, mask=read.mask, index=read.index),
            targets={"scores": torch.from_numpy(scores)},
            counts=(len(rows),),
            tokens=read.real,
        )


def check_scores(records: Sequence[Record]) -> bool:
    """Whether pairs have scores; all have them or none.

    Raises:
        UserError: DATA_SCORE.
    """
    scored = [record for record in records if "score" in record.values]
    for record in records if scored else ():
        score = record.values.get("score")
        if not isinstance(score, float) or not -1 <= score <= 1:
            shown = "no score, but others have one" if score is None else f"a score of {score}"
            description = (
                f"{record.place}: {shown}; give every pair a number from -1 to 1, which the cosine "
                "of the two vectors is to become"
            )
            raise UserError.at("data.columns.score", description, "DATA_SCORE")
    return bool(scored)
