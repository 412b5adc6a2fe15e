"""Slices that are boxes of a reshaped tensor, read in boxes of another shape."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilings import reshapes, shelves

from tessera.weights import strided
from tessera.weights.box import Box
from tessera.weights.layout import interned
from tessera.weights.reshape import ReshapeError, common, merged, refined
from tessera.weights.slice_index import SliceIndex
from tessera.weights.view_column import ViewColumn


def tiled(dice, shape, view):
    """Boxes that tile a tensor, some of its own shape, some of a view."""
    boxes, views = [], []
    for box in shelves(dice, Box.whole(shape)):
        finer = common([shape, view])
        parts = refined(box, shape, finer)
        coarse = [merged(part, finer, view) for part in parts]
        if dice.random() < 0.5 and [refined(b, view, finer) for b in coarse] == [
            [p] for p in parts
        ]:
            boxes += coarse
            views += [view] * len(coarse)
        else:
            boxes.append(box)
            views.append(None)
    return boxes, views


def check(seed, limit):
    dice = random.Random(seed)
    shape, view, asked = reshapes(dice, 3)
    boxes, views = tiled(dice, shape, view)
    size = math.prod(shape)
    if not size:
        return
    data = np.arange(size, dtype=np.uint16).view(np.uint8)
    layout, numbers = interned(shape, boxes, views)
    assert layout.overlap is None
    assert layout.outside is None
    assert layout.volume == layout.elements.sum() == size
    held = [
        strided.gather(data, shape if views[number] is None else views[number], 2, boxes[number])
        for number in numbers.tolist()
    ]
    for wanted in shelves(dice, Box.whole(asked)):
        cover = layout.cover(wanted, asked, limit)
        assert cover.missing is None
        out = np.full(wanted.elements * 2, 255, np.uint8)
        moved = 0
        for part in cover.parts:
            source = layout.boxes[part.slice]
            packed = strided.gather(held[part.slice], source.extents, 2, part.within)
            strided.scatter(packed, out, part.extents, 2, part.into)
            moved += part.within.elements
        assert moved == wanted.elements
        assert out.tobytes() == strided.gather(data, asked, 2, wanted).tobytes()
    # Without one of them there is a gap, and twice there is an overlap.
    gone = dice.randrange(len(boxes))
    rest = [number for number in range(len(boxes)) if number != gone]
    holed, _ = interned(shape, [boxes[n] for n in rest], [views[n] for n in rest])
    assert holed.volume == size - boxes[gone].elements
    assert holed.cover(Box.whole(shape), None, limit).missing is not None
    twice, _ = interned(shape, [*boxes, boxes[gone]], [*views, views[gone]])
    assert {twice.boxes[number] for number in twice.overlap} == {boxes[gone]}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([1, 4, 1000]))
def test_slices_of_a_reshaped_tensor_are_read_in_any_other_shape(seed, limit):
    check(seed, limit)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([1, 4, 1000]))
def test_ten_thousand_layouts_of_reshaped_slices(seed, limit):
    check(seed, limit)


def test_the_slices_of_a_fused_projection_under_tensor_parallelism_make_it_up():
    """Each rank holds its heads of the three: one slice, and not one box of the matrix."""
    heads, width, ranks = 8, 2, 4
    matrix, view = (3 * heads, width), (3, heads, width)
    held = [Box((0, 2 * rank, 0), (3, 2, width)) for rank in range(ranks)]
    index = SliceIndex([(5,), matrix], [1] * ranks, held, ViewColumn.of([view] * ranks))
    layout, places = index.of(1)
    assert places.tolist() == [0, 1, 2, 3]
    assert (layout.volume, layout.overlap) == (3 * heads * width, None)
    first_half = layout.cover(Box((0, 0), (12, width)), None, 1000)
    assert sorted({part.slice for part in first_half.parts}) == [0, 1, 2, 3]
    own = layout.cover(held[2], view, 1000)
    assert [(part.slice, part.within) for part in own.parts] == [(2, Box.whole((3, 2, width)))]


def test_views_that_cross_are_refused():
    layout, _ = interned((6, 4), [Box.whole((6, 4))], [None])
    with pytest.raises(ReshapeError, match="cross"):
        layout.cover(Box.whole((4, 6)), (4, 6), 10)
