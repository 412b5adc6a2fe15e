"""From the logits of a step to what every sequence gets: a token, or candidates of its search."""

from __future__ import annotations

import math
from collections.abc import Sequence as Ordered

import torch
from torch import Tensor

from tessera.inference.engine.beam import BeamSearch, Candidate
from tessera.inference.engine.finite import NotFinite
from tessera.inference.engine.plan import Item
from tessera.inference.engine.sampling import Sampled, generator, sample, suppressed
from tessera.inference.engine.sequence import Sequence

Choice = Sampled | list[Candidate] | NotFinite
"""What a step brings a sequence: its next token, candidates of its beam search, or that
its numbers are broken."""


class Sampler:
    """Chooses, and keeps the chance of every sequence."""

    def __init__(self) -> None:
        self._generators: dict[int, torch.Generator] = {}

    def forget(self, number: int) -> None:
        """Drop what is kept for an item."""
        self._generators.pop(number, None)

    def choose(
        self, logits: Tensor, sequences: Ordered[Sequence], suppress: Ordered[int]
    ) -> list[tuple[Item, Choice]]:
        """What every sequence gets.

        Args:
            logits: [rows, V], a row for every branch of every sequence.
            sequences: in the order of their rows.
            suppress: tokens that are never chosen.
        """
        parts = torch.split(logits, [len(sequence.branches) for sequence in sequences])
        done: list[tuple[Item, Choice]] = []
        plain: list[tuple[Sequence, Tensor]] = []
        for sequence, part in zip(sequences, parts, strict=True):
            if sequence.search is None:
                plain.append((sequence, part))
            else:
                done.append((sequence, candidates(part, sequence.search, suppress)))
        if plain:
            done.extend(self._sample(plain, suppress))
        return done

    def _sample(
        self, plain: Ordered[tuple[Sequence, Tensor]], suppress: Ordered[int]
    ) -> list[tuple[Item, Choice]]:
        sequences = [sequence for sequence, _ in plain]
        for sequence in sequences:
            if sequence.number not in self._generators:
                self._generators[sequence.number] = generator(sequence.sampling)
        tokens = sample(
            torch.cat([part for _, part in plain]),
            [sequence.sampling for sequence in sequences],
            [self._generators[sequence.number] for sequence in sequences],
            suppress,
        )
        # A row of logits with one that is not finite has no finite log-probability.
        return [
            (sequence, chosen if math.isfinite(chosen.logprob) else NotFinite())
            for sequence, chosen in zip(sequences, tokens, strict=True)
        ]


def candidates(
    logits: Tensor, search: BeamSearch, suppress: Ordered[int]
) -> list[Candidate] | NotFinite:
    """The best ways to go on that are possible at all, the best first.

    Args:
        logits: [hypotheses, V].
        search: that they belong to.
        suppress: tokens that are never chosen.
    """
    logprobs = suppressed(torch.log_softmax(logits.float(), dim=-1), suppress)
    before = torch.tensor(search.scores, device=logits.device)
    flat = (logprobs + before[:, None]).flatten()
    scores, places = flat.topk(min(search.width, len(flat)))
    alone = logprobs.flatten()[places]
    vocabulary = logits.shape[-1]
    best = [
        Candidate(score, place // vocabulary, place % vocabulary, logprob)
        for score, place, logprob in zip(
            scores.tolist(), places.tolist(), alone.tolist(), strict=True
        )
        if score != -math.inf
    ]
    # Not a number is the greatest of all to `topk`.
    sound = best and all(math.isfinite(candidate.score) for candidate in best)
    return best if sound else NotFinite()
