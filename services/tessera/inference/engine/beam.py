"""Beam search: which hypotheses go on, which have ended, and when no better one can come. Pure.

Step by step it decides as `generate(num_beams=…, early_stopping=False)` of transformers does, so
that a model gives the same translations here and there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hypothesis that may go on with a token.

    Args:
        score: log-probability of all that it has written, this token included.
        parent: index of the hypothesis.
        token: the token.
        logprob: of the token alone.
    """

    score: float
    parent: int
    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may have been meant.

    Args:
        score: log-probability; of one that has ended, divided by a power of its length.
        tokens: that were written, the one that ends the text included.
        logprobs: of the tokens.
        ended: whether the model ended it, and not the limit.
    """

    score: float
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    ended: bool = False


class BeamSearch:
    """The search for one text.

    Args:
        beams: hypotheses that are followed and kept.
        length_penalty: power of the length that divides the scores of those that have ended.
        end_ids: tokens that end a text; none: only the limit does.
        limit: tokens to write at most.
    """

    def __init__(
        self, *, beams: int, length_penalty: float, end_ids: frozenset[int], limit: int
    ) -> None:
        self.beams = beams
        self.running = [Hypothesis(0.0)]
        self.finished: list[Hypothesis] = []
        self.done = False
        self._penalty = length_penalty
        self._end_ids = end_ids
        self._limit = limit

    @property
    def width(self) -> int:
        """Candidates that a step needs: every hypothesis may end, and as many must go on."""
        return max(2, 1 + len(self._end_ids)) * self.beams

    @property
    def scores(self) -> list[float]:
        """Of those that run."""
        return [hypothesis.score for hypothesis in self.running]

    def advance(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One step.

        Args:
            candidates: the best ones, the best first.

        Returns:
            Those that run now, the best first; none when the search is done.
        """
        length = len(self.running[0].tokens) + 1
        last = length >= self._limit
        # An end that is not among the best is dropped: it is there to be replaced.
        ended = [
            self._extend(candidate, candidate.score / length**self._penalty)
            for candidate in candidates[: self.beams]
            if last or candidate.token in self._end_ids
        ]
        kept = sorted([*self.finished, *ended], key=lambda each: -each.score)
        self.finished = kept[: self.beams]
        alive = (
            [] if last else [c for c in candidates if c.token not in self._end_ids][: self.beams]
        )
        self.running = [self._extend(candidate, candidate.score) for candidate in alive]
        self.done = not alive or not self._improvable(length)
        return [] if self.done else alive

    def _extend(self, candidate: Candidate, score: float) -> Hypothesis:
        parent = self.running[candidate.parent]
        return Hypothesis(
            score,
            (*parent.tokens, candidate.token),
            (*parent.logprobs, candidate.logprob),
            candidate.token in self._end_ids,
        )

    def _improvable(self, length: int) -> bool:
        """Whether the best that runs, if it ended now, would beat the worst that has ended."""
        if len(self.finished) < self.beams:
            return True
        return self.running[0].score / float(length**self._penalty) > self.finished[-1].score
