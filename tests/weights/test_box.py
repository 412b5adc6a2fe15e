"""The algebra of boxes, against numpy masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.weights import strided
from tessera.weights.box import Box


@st.composite
def shapes(draw):
    return tuple(draw(st.lists(st.integers(0, 6), max_size=4)))


@st.composite
def boxes(draw, shape):
    offsets, extents = [], []
    for full in shape:
        start = draw(st.integers(0, full))
        offsets.append(start)
        extents.append(draw(st.integers(0, full - start)))
    return Box(tuple(offsets), tuple(extents))


@st.composite
def pairs(draw):
    shape = draw(shapes())
    return shape, draw(boxes(shape)), draw(boxes(shape))


def mask(shape, *found):
    counts = np.zeros(shape, np.int64)
    for box in found:
        counts[box.slices] += 1
    return counts


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_intersection_and_difference_are_those_of_sets(case):
    shape, one, other = case
    common = one.intersect(other)
    parts = [] if common is None else [common]
    expected = mask(shape, one) * mask(shape, other)
    assert (mask(shape, *parts) == expected).all()
    assert (mask(shape, *one.subtract(other)) == mask(shape, one) - expected).all()
    assert (
        one.contains(other)
        == (not other.elements or bool((mask(shape, one) >= mask(shape, other)).all()))
        or not other.elements
    )


@settings(max_examples=100, deadline=None)
@given(pairs(), st.integers(1, 50))
def test_blocks_follow_one_another_and_stay_small(case, limit):
    shape, box, _ = case
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    found = list(box.blocks(limit))
    assert all(0 < block.elements <= limit for block in found)
    ordered = [numbers[block.slices].reshape(-1) for block in found]
    joined = np.concatenate(ordered) if ordered else np.empty(0)
    assert (joined == numbers[box.slices].reshape(-1)).all()


@settings(max_examples=100, deadline=None)
@given(pairs(), st.sampled_from([1, 2, 4, 8]))
def test_a_run_is_what_numpy_calls_contiguous_and_gather_undoes_scatter(case, size):
    shape, box, _ = case
    buffer = np.random.default_rng(1).integers(0, 256, int(np.prod(shape)) * size, np.uint8)
    expected = np.ascontiguousarray(buffer.reshape((*shape, size))[box.slices]).reshape(-1)
    view = strided.run(buffer, shape, size, box)
    if view is not None:
        assert view.tobytes() == expected.tobytes()
        assert not view.size or np.shares_memory(view, buffer)
    else:
        assert not strided.region(buffer, shape, size, box).flags.c_contiguous
    packed = strided.gather(buffer, shape, size, box)
    assert packed.tobytes() == expected.tobytes()
    copy = np.zeros_like(buffer)
    strided.scatter(packed, copy, shape, size, box)
    inside = np.repeat(mask(shape, box).reshape(-1), size)
    assert (copy == buffer * inside).all()


def test_a_box_that_is_none_is_refused():
    with pytest.raises(ValueError, match="offsets"):
        Box((0,), (1, 2))
    with pytest.raises(ValueError, match="negative"):
        Box((0,), (-1,))
