"""Boxes of a tensor that is seen under other shapes. Pure.

A matrix of shape (3 h, d), the three of a fused attention projection, seen as (3, h, d): there one
box is what a rank of tensor parallelism holds, in the matrix itself it is three. A shape refines
another one if merging neighbouring axes gives that; elements keep their row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product

from tessera.weights.box import Box

Shape = tuple[int, ...]

View = Shape | None
"""A shape of the tensor's elements that a box is a box of; None: the tensor's own."""


MOST_AXES = 16
"""Of a view that is written down: as many as a tensor may have."""

MOST_PARTS = 1024
"""Boxes that one box may be in a finer shape: what nobody needs, and would take all memory."""


class ReshapeError(ValueError):
    """Shapes that no shape refines at once, or in which a box is too many."""


def common(shapes: Sequence[Shape]) -> Shape:
    """The coarsest shape that refines all of these; one of them if they are all the same.

    Raises:
        ReshapeError: they have different numbers of elements, or an axis of one ends within one of
            another: (6, 4) and (4, 6); or they are none.
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    if any(extent < 0 for shape in shapes for extent in shape):
        raise ReshapeError(f"a negative number in the shapes {_text(shapes)}")
    if len({math.prod(shape) for shape in shapes}) > 1:
        raise ReshapeError(f"shapes {_text(shapes)} have different numbers of elements")
    if not math.prod(first):
        return (0,)
    # How far apart in memory the neighbours on an axis lie: every axis of every shape begins there.
    strides = sorted(
        {math.prod(shape[axis:]) for shape in shapes for axis in range(len(shape) + 1)}
    )
    if any(outer % inner for inner, outer in pairwise(strides)):
        raise ReshapeError(f"axes of the shapes {_text(shapes)} cross")
    return tuple(outer // inner for inner, outer in pairwise(strides))[::-1]


def refined(box: Box, shape: Shape, finer: Shape) -> list[Box]:
    """A box of `shape` as disjoint boxes of `finer`; none if it is empty.

    Args:
        box: within `shape`.
        shape: that it is a box of.
        finer: what `common` made of it and others.

    Raises:
        ReshapeError: they are more than `MOST_PARTS`.
    """
    if not box.elements:
        return []
    if shape == finer:
        return [box]
    parts = [
        list(_range(start, start + extent, [finer[axis] for axis in axes]))
        for start, extent, axes in zip(
            box.offsets, box.extents, _merged_axes(shape, finer), strict=True
        )
    ]
    if math.prod(map(len, parts)) > MOST_PARTS:
        raise ReshapeError(f"a box of {list(shape)} is too many boxes of {list(finer)}")
    boxes = []
    for chosen in product(*parts):
        ranges = [digit for part in chosen for digit in part]
        boxes.append(Box(tuple(r[0] for r in ranges), tuple(r[1] for r in ranges)))
    return boxes


def split_extents(box: Box, finer: Shape, shapes: Sequence[Shape]) -> Shape:
    """The extents of the fewest disjoint boxes that make one of `finer` up (see `split`)."""
    groups = [axes for shape in shapes if shape != finer for axes in _merged_axes(shape, finer)]
    extents = list(box.extents)
    cut = True
    while cut:
        cut = False
        for axes in groups:
            # On the merged axis it is one range if what lies above a partial axis is one index.
            partial = [axis for axis in axes if extents[axis] != finer[axis]]
            for axis in axes:
                if partial and axis < partial[-1] and extents[axis] > 1:
                    extents[axis], cut = 1, True
    return tuple(extents)


def split(box: Box, finer: Shape, shapes: Sequence[Shape]) -> Iterator[Box]:
    """A box of `finer` as the fewest disjoint ones that are boxes in each of the coarser shapes."""
    extents = split_extents(box, finer, shapes)
    if extents == box.extents:
        yield box
        return
    for offsets in product(
        *(
            range(start, start + whole, length)
            for start, whole, length in zip(box.offsets, box.extents, extents, strict=True)
        )
    ):
        yield Box(offsets, extents)


def merged(box: Box, finer: Shape, shape: Shape) -> Box:
    """A box of `finer` as the box of the coarser `shape` that it is (see `split`)."""
    if shape == finer:
        return box
    offsets, extents = [], []
    for axes in _merged_axes(shape, finer):
        offset, extent = 0, 1
        for axis in axes:
            offset = offset * finer[axis] + box.offsets[axis]
            extent *= box.extents[axis]
        offsets.append(offset)
        extents.append(extent)
    return Box(tuple(offsets), tuple(extents))


def _merged_axes(shape: Shape, finer: Shape) -> list[range]:
    """For every axis of `shape` those of `finer` that make it up."""
    groups, position = [], 0
    for extent in shape:
        start, elements = position, 1
        while elements < extent:
            elements *= finer[position]
            position += 1
        groups.append(range(start, position))
    return groups


def _range(start: int, end: int, extents: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """A range of an axis as blocks of the axes that it is made of: (offset, extent) on each."""
    if not extents:
        yield []
        return
    row = math.prod(extents[1:])
    first, last = start // row, (end - 1) // row
    if first == last:
        for rest in _range(start - first * row, end - first * row, extents[1:]):
            yield [(first, 1), *rest]
        return
    whole_first, whole_end = -(-start // row), end // row
    if start % row:
        for rest in _range(start % row, row, extents[1:]):
            yield [(first, 1), *rest]
    if whole_first < whole_end:
        yield [(whole_first, whole_end - whole_first), *((0, extent) for extent in extents[1:])]
    if end % row:
        for rest in _range(0, end % row, extents[1:]):
            yield [(last, 1), *rest]


def _text(shapes: Sequence[Shape]) -> str:
    return " and ".join(str(list(shape)) for shape in dict.fromkeys(shapes))
