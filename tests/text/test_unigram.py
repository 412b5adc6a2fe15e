from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.text.unigram import score

WORDS = {"▁lower": 6, "▁lowest": 4, "▁low": 10, "▁newest": 5}
PIECES = {*"▁lowerstn", "▁low", "est", "er", "▁new"}


def test_pieces_are_as_probable_as_they_are_used():
    scores = dict(score(PIECES, WORDS))
    used = {"▁low": 20, "er": 6, "est": 9, "▁new": 5}
    for piece, times in used.items():
        assert math.isclose(scores[piece] - scores["er"], math.log(times / 6), abs_tol=2e-4)
    assert all(scores[piece] < scores["▁new"] for piece in PIECES - set(used))
    assert all(value == round(value, 4) for value in scores.values())
    assert math.isclose(sum(map(math.exp, scores.values())), 1, abs_tol=1e-3)


def test_the_probable_wins_against_the_short():
    # Both cut "abab" into two; only one way recurs elsewhere.
    scores = dict(score({"a", "b", "ab", "aba", "ba"}, {"abab": 1, "ab": 50}))
    assert scores["ab"] > scores["aba"]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_order_of_pieces_and_words_does_not_matter(data):
    pieces = data.draw(st.permutations(sorted(PIECES)))
    words = dict(data.draw(st.permutations(list(WORDS.items()))))
    assert score(pieces, words) == score(PIECES, WORDS)
