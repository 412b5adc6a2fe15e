"""Answers to questions: pieces of their contexts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.probabilities import Logits, largest, softmax
from tessera.inference.tasks.text_input import TextInput, plain, with_special_tokens
from tessera.models.tasks import kind_of
from tessera.text.tokenizer import Encoded, Tokenizer

_LEAST_ROOM = 1 / 4
"""Of what the model reads: less of a context beside a question is no window worth reading."""

BAND = 1 << 18
"""Spans that are compared at once: 2 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and the text that may answer it."""

    question: TextInput
    context: TextInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a context.

    Args:
        text: the piece; empty where nothing can tell it.
        begin: its first character; its first token where tokens were given.
        end: the character, or token, after the last one.
        probability: among all pieces of all windows.
    """

    text: str
    begin: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What answers one question.

    Args:
        spans: the most likely first.
        no_answer: probability that the context does not hold it, beside all pieces.
    """

    spans: tuple[Span, ...]
    no_answer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a context that is read at once.

    Args:
        begin: its first token in the context.
        count: its tokens.
        place: of its first token among all that is read with it.
    """

    begin: int
    count: int
    place: int


@dataclass(frozen=True, slots=True)
class _Read:
    context: TextInput
    encoded: Encoded
    windows: list[Window]
    tokenizer: Tokenizer | None

    def text(self, begin: int, end: int) -> str:
        """A piece, by what the offsets count."""
        if self.context.tokens is None:
            return self.context.text[begin:end]
        return "" if self.tokenizer is None else self.tokenizer.decode(self.encoded.ids[begin:end])


class Answer:
    """Asks questions.

    Args:
        questions: with their contexts.
        top_k: answers to each.
        max_tokens: of an answer.
    """

    method = "Answer"

    def __init__(self, questions: Sequence[Question], top_k: int, max_tokens: int) -> None:
        self._questions = questions
        self._top_k = top_k
        self._max_tokens = max_tokens
        self._reads: list[_Read] = []

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each window of each context."""
        self._reads = []
        works: list[PoolingInput] = []
        for index, question in enumerate(self._questions):
            works.extend(self._windows(model, bounds, question, f"questions[{index}]"))
        return works

    def finish(self, results: Sequence[Logits]) -> list[Found]:
        """The best answers to every question."""
        left = iter(results)
        return [self._found(read, [next(left) for _ in read.windows]) for read in self._reads]

    def _windows(
        self, model: LoadedModel, bounds: Bounds, asked: Question, field: str
    ) -> list[PoolingInput]:
        size = model.config.vocab_size
        longest = bounds.reading(model)
        question = plain(model, asked.question, f"{field}.question", size, longest).ids
        encoded = plain(model, asked.context, f"{field}.context", size)
        empty = with_special_tokens(model, question, ())
        room = longest - len(empty.tokens)
        least = math.ceil(longest * _LEAST_ROOM)
        if room < least:
            raise errors.InvalidArgumentError.at(
                f"{field}.question",
                f"it has {len(question)} tokens, but the model reads {longest}, its context"
                f" included; shorten it to {len(question) - least + room}",
                "INPUT_TOO_LONG",
                metadata={"tokens": str(len(question)), "context": str(longest)},
            )
        # Every answer that is short enough stands whole in one window.
        parts = windows(len(encoded.ids), room, min(self._max_tokens, room // 2))
        _, place = model.frame.around_pair(question, ())
        found = [Window(begin=begin, count=count, place=place) for begin, count in parts]
        self._reads.append(_Read(asked.context, encoded, found, model.tokenizer))
        inputs = [
            with_special_tokens(model, question, encoded.ids[b : b + count]) for b, count in parts
        ]
        head = kind_of(model.config.task).head_names[0]
        return [PoolingInput(head=head, tokens=f.tokens, segments=f.segments) for f in inputs]

    def _found(self, read: _Read, results: Sequence[Logits]) -> Found:
        tokens = len(read.encoded.ids)
        best, total = best_spans(tokens, read.windows, results, self._max_tokens, self._top_k)
        spans = []
        for score, first, last in best:
            # All of them may be ruled out.
            probability = math.exp(score - total) if score > -math.inf else 0.0
            if not probability:
                break
            begin, end = read.encoded.offsets[first][0], read.encoded.offsets[last][1]
            spans.append(
                Span(text=read.text(begin, end), begin=begin, end=end, probability=probability)
            )
        return Found(spans=tuple(spans), no_answer=no_answer(total, results))


def windows(tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Windows (first token, number) over a text; each one but the last is full.

    Args:
        tokens: of the text.
        room: tokens of a window.
        overlap: tokens that two neighbours share at least, less than `room`.
    """
    begins = range(0, max(tokens - overlap, 1), room - overlap)
    return [(begin, min(room, tokens - begin)) for begin in begins]


def best_spans(
    tokens: int, parts: Sequence[Window], results: Sequence[Logits], longest: int, count: int
) -> tuple[list[tuple[float, int, int]], float]:
    """The spans that answer best, and the log-sum-exp of the scores of all.

    A band of first tokens at a time, so that memory does not grow with the context.

    Args:
        tokens: of the context.
        parts: windows of it, in their order.
        results: [T, 2] logits of start and end of what was read with each window.
        longest: tokens of a span at most.
        count: spans wanted.

    Returns:
        (score, first token, last token) of each, the best first.
    """
    longest = min(longest, max(part.count for part in parts))
    rows = max(1, BAND // longest)
    best: list[tuple[float, int, int]] = []
    total = -math.inf
    for begin in range(0, tokens, rows):
        end = min(begin + rows, tokens)
        scores = span_scores(begin, end, parts, results, longest)
        total = float(np.logaddexp(total, np.logaddexp.reduce(scores, axis=None)))
        flat = scores.ravel()
        for index in largest(flat, count).tolist():
            row, more = divmod(index, longest)
            best.append((float(flat[index]), begin + row, begin + row + more))
        best = sorted(best, key=lambda span: -span[0])[:count]
    return best, total


def span_scores(
    begin: int, end: int, parts: Sequence[Window], results: Sequence[Logits], longest: int
) -> NDArray[np.float64]:
    """How well the spans of some first tokens answer.

    Args:
        begin: the first of these tokens.
        end: the one after the last.
        parts: windows of the context.
        results: [T, 2] logits of start and end of what was read with each window.
        longest: tokens of a span at most.

    Returns:
        [end - begin, longest], the best over all windows; -inf: not at all.
    """
    scores = np.full((end - begin, longest), -np.inf)
    for part, logits in zip(parts, results, strict=True):
        low, high = max(begin, part.begin), min(end, part.begin + part.count)
        if low >= high:
            continue
        both = logits[part.place : part.place + part.count].astype(np.float64)
        for more in range(min(longest, part.count)):
            count = min(high, part.begin + part.count - more) - low
            if count < 1:
                break
            at = low - part.begin
            column = scores[low - begin : low - begin + count, more]
            last = both[at + more : at + more + count, 1]
            np.maximum(column, both[at : at + count, 0] + last, out=column)
    return scores


def no_answer(total: float, results: Sequence[Logits]) -> float:
    """Probability of the span of place 0 alone, beside all others (Devlin et al., 2019, 4.3).

    A window that lacks the answer says so whatever the others hold, so that the one counts which
    says it least.

    Args:
        total: log-sum-exp of the scores of all spans.
        results: [T, 2] logits of start and end of what was read with each window.
    """
    empty = min(float(logits[0].astype(np.float64).sum()) for logits in results)
    return float(softmax(np.array([total, empty]))[-1])
