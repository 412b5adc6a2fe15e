"""Boxes of one shape, most often those that make it up: which hold what, and whether all. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

import numpy as np

from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.box_tree import BoxTree, Numbers

_TOGETHER = 256
"""Boxes whose neighbours are looked up at once where boxes overlap."""


def corners(boxes: Sequence[Box], axes: int) -> tuple[Numbers, Numbers]:
    """Offsets and extents of boxes; [boxes, axes].

    Raises:
        ValueError: a box has another number of axes.
    """
    if isinstance(boxes, BoxColumns):
        if (boxes.axes != axes).any():
            raise ValueError(f"a box has not {axes} axes")
        rows = (len(boxes), axes)
        return boxes.offsets.reshape(rows), boxes.extents.reshape(rows)
    columns = []
    for column in ([b.offsets for b in boxes], [b.extents for b in boxes]):
        if not {len(row) for row in column} <= {axes}:
            raise ValueError(f"a box has not {axes} axes")
        flat = np.fromiter(chain.from_iterable(column), np.int64, len(boxes) * axes)
        columns.append(flat.reshape(len(boxes), axes))
    return columns[0], columns[1]


class Tiling:
    """Boxes by number.

    Args:
        offsets: of every box; [boxes, axes].
        extents: the same; empty boxes hold nothing.
    """

    def __init__(self, offsets: Numbers, extents: Numbers) -> None:
        self._solid = np.flatnonzero((extents > 0).all(axis=1))
        self._low = offsets[self._solid]
        self._high = self._low + extents[self._solid]
        self.volume = int((self._high - self._low).prod(axis=1).sum())

    @cached_property
    def _tree(self) -> BoxTree:
        return BoxTree(self._low, self._high)

    @cached_property
    def overlap(self) -> tuple[int, int] | None:
        """Numbers of two boxes that share an element; None: no two do."""
        if len(self._low) < 2 or self._disjoint_on_one_axis():  # noqa: PLR2004 - two to overlap
            return None
        for ours, theirs in self._tree.pairs(self._low, self._high):
            (twice,) = np.nonzero(ours != theirs)
            if len(twice):
                pair = self._solid[ours[twice[0]]], self._solid[theirs[twice[0]]]
                return int(min(pair)), int(max(pair))
        return None

    def _disjoint_on_one_axis(self) -> bool:
        """Whether each box ends on some axis before the next one begins."""
        for low, high in zip(self._low.T, self._high.T, strict=True):
            order = np.argsort(low, kind="stable")
            if (high[order[:-1]] <= low[order[1:]]).all():
                return True
        return False

    def find(self, wanted: Box) -> tuple[Numbers, Numbers, Numbers]:
        """Disjoint parts of a box that is not empty: whose they are, first and last index.

        Where boxes overlap (replicas), the one that gives most wins, so that few are asked.
        """
        low, high = np.array([wanted.offsets], np.int64), np.array([wanted.ends], np.int64)
        found = [boxes for _, boxes in self._tree.pairs(low, high)]
        held = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
        low, high = np.maximum(self._low[held], low), np.minimum(self._high[held], high)
        if self.overlap is not None:
            chosen, low, high = _greatest_first(low, high, wanted.elements)
            held = held[chosen]
        return self._solid[held], low, high


def missing(wanted: Box, low: Numbers, high: Numbers) -> Box | None:
    """Some block of a box that none of its disjoint parts holds; None if they hold all of it."""
    if _held_of(wanted, low, high) == wanted.elements:
        return None
    hole = wanted
    while _held_of(hole, low, high):
        # Of two halves one lacks something; the other one need not be looked at.
        axis = max(range(len(hole.extents)), key=lambda axis: hole.extents[axis])
        half = hole.extents[axis] // 2
        first = _with(hole, axis, hole.offsets[axis], half)
        rest = _with(hole, axis, hole.offsets[axis] + half, hole.extents[axis] - half)
        hole = first if _held_of(first, low, high) < first.elements else rest
    return hole


def _held_of(box: Box, low: Numbers, high: Numbers) -> int:
    inside = np.minimum(high, np.array(box.ends, np.int64)) - np.maximum(
        low, np.array(box.offsets, np.int64)
    )
    return int(inside.clip(0).prod(axis=1).sum())


def _with(box: Box, axis: int, offset: int, extent: int) -> Box:
    offsets, extents = list(box.offsets), list(box.extents)
    offsets[axis], extents[axis] = offset, extent
    return Box(tuple(offsets), tuple(extents))


def boxes_of(low: Numbers, high: Numbers) -> Iterator[Box]:
    """Boxes from their first indices and one past their last; [boxes, axes]."""
    for offsets, extents in zip(low.tolist(), (high - low).tolist(), strict=True):
        yield Box(tuple(offsets), tuple(extents))


def _greatest_first(low: Numbers, high: Numbers, needed: int) -> tuple[Numbers, Numbers, Numbers]:
    """Disjoint parts of boxes that overlap: the greatest whole, of the others what is left.

    Returns:
        the number of the box of every part, and the parts; those that come after `needed` elements
        are there are left out.
    """
    order = np.argsort(-(high - low).prod(axis=1), kind="stable")
    low, high = low[order], high[order]
    boxes, tree = list(boxes_of(low, high)), BoxTree(low, high)
    numbers, parts, held = [], [], 0
    for start in range(0, len(boxes), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        near: list[list[int]] = [[] for _ in boxes[some]]
        for ours, theirs in tree.pairs(low[some], high[some]):
            before = theirs < ours + start
            for own, other in zip(ours[before].tolist(), theirs[before].tolist(), strict=True):
                near[own].append(other)
        for own, others in enumerate(near, start):
            if held == needed:
                break
            rest = [boxes[own]]
            for other in sorted(others):
                rest = [block for part in rest for block in part.subtract(boxes[other])]
            numbers += [own] * len(rest)
            parts += rest
            held += sum(part.elements for part in rest)
    offsets, extents = corners(parts, low.shape[1])
    return order[np.array(numbers, np.int64)], offsets, offsets + extents
