"""Scores of a Unigram model's pieces, which follow from the pieces and the words alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from tokenizers import models

# From there on the words' probability changes in the fourth digit.
_ROUNDS = 3
# A tokenizer.json keeps so many for certain.
_DIGITS = 4
# What a piece counts that no word uses, so that it has a probability.
_UNSEEN = 0.1


def score(pieces: Iterable[str], words: Mapping[str, int]) -> list[tuple[str, float]]:
    """The pieces with their log probabilities, the most probable first.

    The library's trainer finds the same pieces every time, but it sums in an order that changes
    from run to run, and so do its scores. So they are estimated again: cut all words into as few
    pieces as possible, count, cut into the most probable pieces, and so on.

    Args:
        pieces: all that the model may use.
        words: what to cut, with how often each occurs.
    """
    scores = dict.fromkeys(sorted(pieces), -1.0)
    for _ in range(_ROUNDS):
        # The model wants an unknown token; here it stands for nothing.
        model = models.Unigram([("", 0.0), *scores.items()], 0, byte_fallback=False)
        counts: Counter[str] = Counter()
        for word, times in words.items():
            for found in model.tokenize(word):
                counts[found.value] += times
        total = math.log(sum(max(counts[piece], _UNSEEN) for piece in scores))
        scores = {piece: math.log(max(counts[piece], _UNSEEN)) - total for piece in scores}
    rounded = [(piece, round(value, _DIGITS)) for piece, value in scores.items()]
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))
