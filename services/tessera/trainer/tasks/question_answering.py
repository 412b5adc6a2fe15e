"""Question answering: where in a context the answer to a question begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera.data.checks import answer_begin, check_answers, no_answer_there
from tessera.data.record import Record
from tessera.models.inputs import Outputs
from tessera.models.tasks import QUESTION_ANSWERING
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Encoded, Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.counting import batches
from tessera.trainer.tasks.frames import PAIR, framed_pair
from tessera.trainer.tasks.padding import inputs_of, pad
from tessera.trainer.tasks.records import Row
from tessera.trainer.tasks.spans import covering, windows
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.work import data_of, encoded, examples, sequence_length

_GROUP = 64
"""Records that are encoded at once."""


@dataclass(slots=True)
class QuestionAnswering:
    """Where the answer is; nowhere in a window that does not hold it (Rajpurkar et al., 2018).

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[LossTerm, ...] = (LossTerm(name="span"),)

    def data(self, context: TaskContext) -> TaskData:
        """Questions with windows of their contexts; see `Task`."""
        longest = sequence_length(context, PAIR + 2)
        found = examples(context, roles_of(QUESTION_ANSWERING))
        context.ranks.on_main(lambda: check_answers(found.train))
        tokenizer, stride = found.tokenizer, self.settings.task.stride
        overlap = longest // 4 if stride is None else stride
        encode = AnswerEncoder(tokenizer=tokenizer, longest=longest, overlap=overlap)
        tables = encoded(context, found, encode, ("answers", longest, overlap))
        collate = AnswerCollate(tokenizer=tokenizer, longest=longest)
        return data_of(context, found, tables, ("tokens",), collate)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1], of each window the mean of the losses of first and last place; see `Task`."""
        logits = _allowed(outputs, batch).transpose(1, 2).flatten(0, 1)
        places = batch.targets["span"].flatten()
        return functional.cross_entropy(logits, places, reduction="sum")[None] / 2

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[3] float64: spans that are right, sum of their F1, windows; see `Task`."""
        guess, wanted = best_spans(_allowed(outputs, batch)), batch.targets["span"]
        exact = (guess == wanted).all(dim=1)
        # No answer is place 0, which overlaps with itself only.
        begin = torch.maximum(guess[:, 0], wanted[:, 0])
        end = torch.minimum(guess[:, 1], wanted[:, 1])
        common = (end - begin + 1).clamp(min=0)
        tokens = (guess[:, 1] - guess[:, 0]) + (wanted[:, 1] - wanted[:, 0]) + 2
        f1 = 2 * common.double() / tokens
        return torch.stack([exact.sum().double(), f1.sum(), f1.new_tensor(len(exact))])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Exact match and F1, by windows; see `Task`."""
        exact, overlap, total = sums
        return {"exact_match": exact / total, "f1": overlap / total}

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """Any place; see `Task`."""
        found = batches(data.dataset, samples, self.settings.batch_size)
        places = np.concatenate([batch.targets["allowed"].sum(dim=1).numpy() for batch in found])
        loss, exact = float(np.mean(np.log(places))), float(np.mean(1.0 / places**2))
        text = (
            f"drawing first and last place at random has a held-out loss of {loss:.4f} nats and "
            f"is right in {exact:.2%} of the windows"
        )
        return Baseline(text=text, loss=loss, metrics={"exact_match": exact})


def best_spans(logits: Tensor) -> Tensor:
    """[B, 2] first and last place of the spans with the highest sum of logits.

    Args:
        logits: [B, T, 2] of being first and last; -inf where none may be. Place 0 stands for no
            answer and goes with itself only.
    """
    first, last = logits.unbind(dim=-1)
    length = first.shape[1]
    ordered = torch.ones(length, length, dtype=torch.bool, device=logits.device).triu()
    ordered[0, 1:] = False
    sums = (first[:, :, None] + last[:, None, :]).masked_fill(~ordered, -torch.inf)
    best = sums.flatten(1).argmax(dim=1)
    return torch.stack([best // length, best % length], dim=1)


def _allowed(outputs: Outputs, batch: TokenBatch) -> Tensor:
    """[B, T, 2] logits in float32, -inf where there is no context."""
    assert outputs.logits is not None
    return outputs.logits.float().masked_fill(~batch.targets["allowed"][..., None], -torch.inf)


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

    def __call__(
        self, _split: str, rows: Sequence[Row], _sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """Targets are [B, 2] places of first and last token, and [B, T] where one may be."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        second = np.array([row["second"][0] for row in rows])
        # What follows the context is no part of it.
        frame = self.tokenizer.frame()
        after = len(frame.closing)
        last = np.array([len(row["tokens"]) - after for row in rows])
        place = np.arange(read.ids.shape[1])
        allowed = (place >= second[:, None]) & (place < last[:, None]) | (place == 0)
        return TokenBatch(
            inputs=inputs_of(read, second.tolist(), frame),
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
        InvalidArgumentError: DATA_ANSWER_NOT_IN_CONTEXT.
    """
    begin = answer_begin(record)
    if begin is None:
        return None
    answer = str(record.values["answer"])
    span = covering(offsets, begin, begin + len(answer))
    if span is None:
        raise no_answer_there(record)
    return span
