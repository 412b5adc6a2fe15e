"""Rows to batches and back; frames around texts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.text.frame import Frame
from tessera.text.special import BERT
from tessera.text.training import train
from tessera.trainer.data.buckets import shapes
from tessera.trainer.tasks.frames import framed, framed_pair
from tessera.trainer.tasks.padding import FULL_ENOUGH, pad, segments

ROWS = st.lists(
    st.lists(st.integers(1, 99), min_size=1, max_size=40).map(np.array), min_size=1, max_size=8
)
TOKENIZER = train("character", iter(["abcdefghij"]), 30, BERT)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_batch_holds_its_rows_and_nothing_else(rows):
    padded = pad(rows, 0, 40)
    count, width = padded.ids.shape
    assert width in shapes(40)
    assert padded.real == sum(map(len, rows))
    for row, found in zip(rows, padded.ids.numpy(), strict=True):
        assert found[: len(row)].tolist() == row.tolist()
        assert not found[len(row) :].any()
    if padded.mask is None:
        assert padded.places is None
        assert padded.real == count * width
    else:
        assert padded.mask.sum(dim=1).tolist() == [len(row) for row in rows]
        assert padded.ids.flatten()[padded.places].tolist() == np.concatenate(rows).tolist()
    assert (padded.index is not None) == (padded.real < FULL_ENOUGH * count * width)
    if padded.index is not None:
        assert padded.index.tolist() == padded.places.tolist()


@settings(max_examples=60, deadline=None)
@given(ROWS, st.data())
def test_segments_begin_where_the_second_text_does(rows, data):
    second = [data.draw(st.integers(1, len(row))) for row in rows]
    padded = pad(rows, 0, 40)
    found = segments(padded, second, Frame())
    if found is None:
        assert second == [len(row) for row in rows]
        return
    for row, begin, line in zip(rows, second, found.tolist(), strict=True):
        assert line[:begin] == [0] * begin
        assert line[begin : len(row)] == [1] * (len(row) - begin)
        assert not any(line[len(row) :])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(10, 20), max_size=30),
    st.lists(st.integers(20, 30), max_size=30),
    st.integers(5, 70),
)
def test_the_longer_text_of_a_pair_is_cut(first, second, longest):
    tokens, begin = framed_pair(first, second, TOKENIZER.frame(), longest)
    end = TOKENIZER.end_id
    left, right = tokens[1 : begin - 1].tolist(), tokens[begin:-1].tolist()
    assert tokens[0] == TOKENIZER.start_id
    assert tokens[begin - 1] == tokens[-1] == end
    assert left == first[: len(left)]
    assert right == second[: len(right)]
    assert len(tokens) == min(longest, len(first) + len(second) + 3)
    if len(left) < len(first):
        assert len(left) >= len(right) - 1 or len(right) == len(second)
    if len(left) < len(first) and len(right) < len(second):
        assert abs(len(left) - len(right)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(10, 30), max_size=30), st.integers(3, 40))
def test_a_text_is_cut_to_what_fits(ids, longest):
    tokens = framed(ids, TOKENIZER.frame(), longest).tolist()
    assert tokens == [TOKENIZER.start_id, *ids[: longest - 2], TOKENIZER.end_id]
