"""How an item's results become what its reader gets, step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Protocol

import numpy as np

from tessera.inference.engine.beam import Hypothesis
from tessera.inference.engine.detokenizer import Detokenizer, OutputDelta
from tessera.inference.engine.model_runner import StepOutput
from tessera.inference.engine.plan import Item
from tessera.inference.engine.pooling import HeadOutput
from tessera.inference.engine.sampling import Sampled
from tessera.inference.engine.sequence import Sequence as Written
from tessera.inference.engine.stream import Part

Fork = Callable[[Written, list[tuple[int, int]]], None]
"""Lets branches of a sequence go on, each with a token."""


class RequestState(Protocol):
    """One item and what has come of it so far."""

    ended: bool

    @property
    def item(self) -> Item:
        """What runs."""

    @property
    def first(self) -> bool:
        """Whether its reader waits for a sign of life, which this is."""

    def accept(self, result: StepOutput) -> Part | None:
        """Take the result of a step; returns what the reader gets now, or None."""


class StreamState:
    """An answer that is read while it grows.

    Args:
        sequence: that is written.
        answer: that grows.
    """

    def __init__(self, sequence: Written, answer: Detokenizer) -> None:
        self.item = sequence
        self.ended = False
        self._answer = answer

    @property
    def first(self) -> bool:
        """Whether it has one token."""
        return self._answer.written == 1

    def accept(self, result: StepOutput) -> OutputDelta:
        """Append a token."""
        assert isinstance(result, Sampled)
        self.item.tokens.append(result.token)
        part = self._answer.accept(result.token, result.logprob)
        self.ended = self._answer.ended
        return part


class GreedyState:
    """One hypothesis: what is most likely each time.

    Args:
        sequence: that is written.
        end_ids: tokens that end a text.
        length_penalty: power of the length that divides its score.
    """

    first = False

    def __init__(self, sequence: Written, end_ids: frozenset[int], length_penalty: float) -> None:
        self.item = sequence
        self.ended = False
        self._end_ids = end_ids
        self._penalty = length_penalty
        self._logprobs: list[float] = []

    def accept(self, result: StepOutput) -> list[Hypothesis] | None:
        """Append a token; the hypothesis when it has ended."""
        assert isinstance(result, Sampled)
        self.item.tokens.append(result.token)
        self._logprobs.append(result.logprob)
        by_itself = result.token in self._end_ids
        self.ended = by_itself or self.item.full
        if not self.ended:
            return None
        count = len(self._logprobs)
        score = sum(self._logprobs) / count**self._penalty
        tokens = tuple(self.item.tokens[-count:])
        return [Hypothesis(score, tokens, tuple(self._logprobs), by_itself)]


class BeamState:
    """A beam search.

    Args:
        sequence: whose branches are the hypotheses.
        fork: called when they change.
    """

    first = False

    def __init__(self, sequence: Written, fork: Fork) -> None:
        self.item = sequence
        self.ended = False
        self._fork = fork

    def accept(self, result: StepOutput) -> list[Hypothesis] | None:
        """Choose among candidates; the hypotheses when the search is done, the best first."""
        assert isinstance(result, list)
        search = self.item.search
        assert search is not None
        alive = search.advance(result)
        self.ended = search.done
        if self.ended:
            return search.finished
        self._fork(self.item, [(candidate.parent, candidate.token) for candidate in alive])
        return None


class BestBeamState:
    """The best hypothesis of a search as one answer.

    Args:
        search: that is made.
        answer: takes the tokens of the best one.
    """

    first = False

    def __init__(self, search: BeamState, answer: Detokenizer) -> None:
        self._search = search
        self._answer = answer
        self.ended = False

    @property
    def item(self) -> Written:
        """What is written."""
        return self._search.item

    def accept(self, result: StepOutput) -> OutputDelta | None:
        """The answer when the search is done; a stop string ends it earlier."""
        found = self._search.accept(result)
        self.ended = self._search.ended
        if found is None:
            return None
        parts: list[OutputDelta] = []
        for token, logprob in zip(found[0].tokens, found[0].logprobs, strict=True):
            parts.append(self._answer.accept(token, logprob))
            if self._answer.ended:
                break
        return reduce(OutputDelta.then, parts)


class PoolingState:
    """A text that is read in one step.

    Args:
        reading: what is read.
    """

    first = False

    def __init__(self, reading: Item) -> None:
        self.item = reading
        self.ended = False

    def accept(self, result: StepOutput) -> HeadOutput:
        """Pass it on."""
        assert isinstance(result, np.ndarray)
        self.ended = True
        return result
