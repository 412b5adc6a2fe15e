from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.inference.tasks.answer import Window, span_scores, windows


@settings(max_examples=200, deadline=None)
@given(tokens=st.integers(1, 200), room=st.integers(1, 50), data=st.data())
def test_every_short_span_stands_whole_in_a_window(tokens, room, data):
    overlap = data.draw(st.integers(0, room // 2))
    parts = windows(tokens, room, overlap)
    assert all(1 <= count <= room for _, count in parts)
    assert all(count == room for _, count in parts[:-1])
    for first in range(tokens):
        last = min(first + max(overlap, 1), tokens) - 1
        assert any(begin <= first and last < begin + count for begin, count in parts)
    # No window is there for nothing.
    ends = [begin + count for begin, count in parts]
    assert ends == sorted(set(ends))
    assert ends[-1] == tokens


def test_a_span_has_its_best_score_over_all_windows():
    parts = [Window(begin=0, count=3, place=1), Window(begin=2, count=2, place=1)]
    first = np.array([[9, 9], [1, 0], [0, 2], [0, 1], [9, 9]], np.float32)
    second = np.array([[9, 9], [5, 0], [0, 4], [9, 9]], np.float32)
    scores = span_scores(4, parts, [first, second], 2)
    assert scores.tolist() == [
        [1.0, 3.0],
        [2.0, 1.0],
        [5.0, 9.0],
        [4.0, -np.inf],
    ]


@pytest.mark.parametrize("longest", [1, 2, 9])
def test_spans_are_never_longer_than_allowed_nor_than_a_window(longest):
    parts = [Window(begin=0, count=3, place=0)]
    scores = span_scores(3, parts, [np.zeros((3, 2), np.float32)], longest)
    assert scores.shape == (3, min(longest, 3))
