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
        question = plain(model, asked.question, f"{field}.question", size).ids
        encoded = plain(model, asked.context, f"{field}.context", size)
        longest = bounds.reading(model)
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
        scores = span_scores(len(read.encoded.ids), read.windows, results, self._max_tokens)
        chances = softmax(scores.ravel())
        spans = []
        for index in largest(chances, self._top_k):
            first, more = divmod(int(index), scores.shape[1])
            if not chances[index]:
                break
            begin, end = read.encoded.offsets[first][0], read.encoded.offsets[first + more][1]
            spans.append(
                Span(
                    text=read.text(begin, end),
                    begin=begin,
                    end=end,
                    probability=float(chances[index]),
                )
            )
        return Found(spans=tuple(spans), no_answer=no_answer(scores, results))


def windows(tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Windows (first token, number) over a text; each one but the last is full.

    Args:
        tokens: of the text.
        room: tokens of a window.
        overlap: tokens that two neighbours share at least, less than `room`.
    """
    begins = range(0, max(tokens - overlap, 1), room - overlap)
    return [(begin, min(room, tokens - begin)) for begin in begins]


def span_scores(
    tokens: int, parts: Sequence[Window], results: Sequence[Logits], longest: int
) -> NDArray[np.float64]:
    """How well spans answer: [tokens, length - 1], the best over all windows; -inf: not at all.

    Args:
        tokens: of the context.
        parts: windows of it.
        results: [T, 2] logits of start and end of what was read with each window.
        longest: tokens of a span at most.
    """
    longest = min(longest, max(part.count for part in parts))
    scores = np.full((tokens, longest), -np.inf)
    for part, logits in zip(parts, results, strict=True):
        both = logits[part.place : part.place + part.count].astype(np.float64)
        for more in range(min(longest, part.count)):
            count = part.count - more
            column = scores[part.begin : part.begin + count, more]
            np.maximum(column, both[:count, 0] + both[more:, 1], out=column)
    return scores


def no_answer(scores: NDArray[np.float64], results: Sequence[Logits]) -> float:
    """Probability of the span of place 0 alone, beside all others (Devlin et al., 2019, 4.3).

    A window that lacks the answer says so whatever the others hold, so that the one counts which
    says it least.

    Args:
        scores: of spans, as `span_scores` has them.
        results: [T, 2] logits of start and end of what was read with each window.
    """
    empty = min(float(logits[0].astype(np.float64).sum()) for logits in results)
    return float(softmax(np.append(scores, empty))[-1])
