"""Boxes under other shapes of the same elements, against numpy's own reshape."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilings import reshapes

from tessera.weights.box import Box
from tessera.weights.reshape import ReshapeError, common, merged, refined, split


def some_box(dice, shape):
    offsets = [dice.randint(0, extent) for extent in shape]
    ends = [dice.randint(start, extent) for start, extent in zip(offsets, shape, strict=True)]
    return Box(tuple(offsets), tuple(b - a for a, b in zip(offsets, ends, strict=True)))


def elements(box, shape):
    """Row-major numbers of the elements of a box."""
    return np.arange(math.prod(shape)).reshape(shape)[box.slices].reshape(-1)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**63))
def test_a_box_is_the_same_elements_in_a_finer_shape_and_back(seed):
    dice = random.Random(seed)
    shapes = reshapes(dice, 2)
    finer = common(shapes)
    assert math.prod(finer) == math.prod(shapes[0])
    shape, other = shapes[0], shapes[1]
    box = some_box(dice, shape)
    boxes = refined(box, shape, finer)
    found = [elements(part, finer) for part in boxes]
    joined = np.concatenate(found) if found else np.empty(0, np.int64)
    assert sorted(joined.tolist()) == elements(box, shape).tolist()
    for part in boxes:
        blocks = list(split(part, finer, (shape, other)))
        # A block has its elements in the same order, whatever it is seen in.
        inside = [elements(block, finer) for block in blocks]
        assert sorted(np.concatenate(inside).tolist()) == elements(part, finer).tolist()
        for block, expected in zip(blocks, inside, strict=True):
            for coarse in (shape, other):
                again = merged(block, finer, coarse)
                assert elements(again, coarse).tolist() == expected.tolist()


def test_the_heads_of_a_fused_projection_are_one_box():
    heads, width, ranks = 8, 4, 2
    matrix, view = (3 * heads, width), (3, heads, width)
    assert common([matrix, view]) == view
    half = Box((0, heads // ranks, 0), (3, heads // ranks, width))
    assert len(list(split(half, view, (view,)))) == 1
    rows = [merged(part, view, matrix) for part in split(half, view, (matrix,))]
    assert rows == [Box((start, 0), (4, 4)) for start in (4, 12, 20)]


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(6, 4), (4, 6)], r"shapes \[6, 4\] and \[4, 6\] cross"),
        ([(6, 4), (6, 5)], "different numbers of elements"),
        ([(0, 4), (1,)], "different numbers of elements"),
    ],
)
def test_shapes_that_are_no_reshapes_of_one_another_are_refused(shapes, text):
    with pytest.raises(ReshapeError, match=text):
        common(shapes)
