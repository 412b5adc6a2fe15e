"""Samples of question answering: a question, a window of its context, where the answer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.models.inputs import Inputs
from tessera.text.tokenizer import Encoded, Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Record
from tessera.trainer.data.table import Sample
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.frames import framed_pair
from tessera.trainer.tasks.padding import pad, segments
from tessera.trainer.tasks.records import Row
from tessera.trainer.tasks.spans import covering, windows

_GROUP = 64
"""Records that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEncoder:
    """Makes samples of records with a question, a context, and perhaps an answer in it.

    Args:
        tokenizer: of both.
        longest: tokens of a sequence; at most half of it is for the question.
        overlap: tokens that two windows of a context share.
    """

    tokenizer: Tokenizer
    longest: int
    overlap: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`tokens`, the place `second` where the context begins, and the `span` of the answer.

        The span is the places of the first and the last token; of the first token of all where
        the window does not hold the whole answer.
        """
        for at in range(0, len(records), _GROUP):
            group = records[at : at + _GROUP]
            questions = self.tokenizer.encode_batch([str(r.values["question"]) for r in group])
            contexts = self.tokenizer.encode_offsets_batch(
                [str(found.values["context"]) for found in group]
            )
            for record, question, context in zip(group, questions, contexts, strict=True):
                yield from self._samples(record, question, context)

    def _samples(self, record: Record, question: list[int], context: Encoded) -> Iterator[Sample]:
        frame = self.tokenizer.frame()
        asked = question[: (self.longest - frame.pair) // 2]
        span = answer_span(record, context.offsets)
        room = self.longest - frame.pair - len(asked)
        for begin, end in windows(len(context.ids), room, self.overlap):
            ids = context.ids[begin:end]
            tokens, second = framed_pair(asked, ids, frame, self.longest)
            place = [0, 0]
            if span is not None and begin <= span[0] and span[1] < end:
                place = [second - begin + span[0], second - begin + span[1]]
            yield {"tokens": tokens, "second": [second], "span": place}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCollate:
    """Makes batches of windows.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, _split: str, rows: Sequence[Row], _draws: NDArray[np.int64]) -> TokenBatch:
        """Targets are [B, 2] places of first and last token, and [B, T] where one may be."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        second = np.array([row["second"][0] for row in rows])
        # What follows the context is no part of it.
        after = len(self.tokenizer.frame().after)
        last = np.array([len(row["tokens"]) - after for row in rows])
        place = np.arange(read.ids.shape[1])
        allowed = (place >= second[:, None]) & (place < last[:, None]) | (place == 0)
        return TokenBatch(
            inputs=Inputs(
                read.ids,
                mask=read.mask,
                index=read.index,
                segments=segments(read, second.tolist()),
            ),
            targets={
                "span": torch.from_numpy(np.stack([row["span"] for row in rows])),
                "allowed": torch.from_numpy(allowed),
            },
            counts=(len(rows),),
            tokens=read.real,
        )


def answer_span(record: Record, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Places of the first and the last token of a record's answer; None: it has no answer.

    Args:
        record: with an answer it must be in the context, at `answer_start` if that is said.
        offsets: characters of the context's tokens.

    Raises:
        UserError: DATA_ANSWER_NOT_IN_CONTEXT.
    """
    if "answer" not in record.values:
        return None
    context, answer = str(record.values["context"]), str(record.values["answer"])
    stated = record.values.get("answer_start")
    begin = stated if isinstance(stated, int) else context.find(answer)
    found = begin >= 0 and context.startswith(answer, begin)
    span = covering(offsets, begin, begin + len(answer)) if found else None
    if span is None:
        where = f" at character {begin}" if isinstance(stated, int) else ""
        description = (
            f"{record.place}: the answer `{answer[:80]}` is not in the context{where}; mend the "
            "record, or leave the answer empty where there is none"
        )
        raise UserError.at("data.columns.answer", description, "DATA_ANSWER_NOT_IN_CONTEXT")
    return span


def check_answers(records: Sequence[Record]) -> None:
    """Raise UserError DATA_NO_ANSWER if no question has an answer."""
    if not any("answer" in record.values for record in records):
        description = (
            "no training record has an answer; name the column that holds it, such as "
            "`answers.text.0`"
        )
        raise UserError.at("data.columns.answer", description, "DATA_NO_ANSWER")
