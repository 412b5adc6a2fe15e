"""How the slices of a tensor lie in it, and what a reader takes from which of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tessera.weights import reshape
from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.record import record
from tessera.weights.reshape import Shape, View
from tessera.weights.tiling import Tiling, boxes_of, corners, missing
from tessera.weights.weighted_cache import WeightedCache

SMALL = 256
"""Runs of memory that are shorter than the limit of a block by so much are not moved one by one."""


@record
class CoverPart:
    """A block of a slice: `within` counts in the slice, `into` in the wanted box.

    Attributes:
        extents: in which the memory of the wanted box is seen for that; most often its own.
        whole: whether it is all of the slice. Its bytes are then those of the slice in the same
            order, whatever the views: in each a box has its elements as the tensor has them.
        first: element of the wanted box from which on it is one run there; -1: it is none.
    """

    slice: int
    within: Box
    into: Box
    extents: Shape
    whole: bool
    first: int


@dataclass(frozen=True, slots=True)
class Cover:
    """Blocks that make up a wanted box; `missing`: some block that no slice holds, if there is."""

    parts: tuple[CoverPart, ...]
    missing: Box | None = None


class Layout:
    """The boxes of a tensor's slices, in an order of their own; made by `interned`.

    Tensors, versions and ranks that are cut alike share one layout, and so what was planned for it.

    Args:
        shape: of the tensor.
        boxes: sorted.
        views: the shape that each is a box of; empty: all of the tensor's own.
    """

    def __init__(self, shape: Shape, boxes: tuple[Box, ...], views: tuple[Shape, ...]) -> None:
        self.shape = shape
        self.boxes = boxes
        self.views = views
        self._seen: dict[Shape, tuple[Tiling, Numbers]] = {}

    def cover(self, wanted: Box, view: View, limit: int) -> Cover:
        """Disjoint blocks that make up a box, each from one slice.

        Args:
            wanted: a box that the reader keeps dense and row-major.
            view: what it is a box of.
            limit: elements of a block that is no run of memory at both ends.

        Raises:
            ReshapeError: the axes of `view` and those of the slices' views cross, or lie so that a
                box of one is too many of the others.
        """
        seen = self.shape if view is None else view
        key = (self, wanted, seen, limit)
        found = _COVERS.get(key)
        if found is None:
            found = self._cover(wanted, seen, limit)
            found = _COVERS.keep(key, found, 1 + len(found.parts))
        return found

    @cached_property
    def outside(self) -> int | None:
        """The first slice whose box does not lie in its view; None: all do."""
        for number, box in enumerate(self.boxes):
            if not Box.whole(self.view(number)).contains(box):
                return number
        return None

    @cached_property
    def finest(self) -> Shape:
        """A shape that refines the tensor's own and those of all views.

        Raises:
            ReshapeError: they cross, or a view has another number of elements.
        """
        return self._finest(self.shape)

    @cached_property
    def elements(self) -> Numbers:
        """Elements of every slice; none may lie outside."""
        return np.array([box.elements for box in self.boxes], np.int64)

    @cached_property
    def volume(self) -> int:
        """Elements of all slices; those that several hold count as often.

        Raises:
            ReshapeError: as `finest` does, or a slice is too many boxes of that shape.
        """
        return self._tiling(self.finest)[0].volume

    @cached_property
    def overlap(self) -> tuple[int, int] | None:
        """Two slices that share an element; None: no two do.

        Raises:
            ReshapeError: as `volume` does.
        """
        tiling, owners = self._tiling(self.finest)
        if tiling.overlap is None:
            return None
        first, second = owners[list(tiling.overlap)].tolist()
        return first, second

    def view(self, number: int) -> Shape:
        """What a slice's box is a box of."""
        return self.views[number] if self.views else self.shape

    def _finest(self, view: Shape) -> Shape:
        if not self.views and view == self.shape:
            return view
        return reshape.common([self.shape, *self._distinct, view])

    @cached_property
    def _distinct(self) -> Sequence[Shape]:
        return list(dict.fromkeys(self.views))

    def _tiling(self, finer: Shape) -> tuple[Tiling, Numbers]:
        """The slices as boxes of one shape, and the slice that each is part of."""
        if finer not in self._seen:
            found = [
                reshape.refined(box, self.view(number), finer)
                for number, box in enumerate(self.boxes)
            ]
            tiling = Tiling(*corners([box for boxes in found for box in boxes], len(finer)))
            owners = np.repeat(np.arange(len(found)), [len(boxes) for boxes in found])
            self._seen[finer] = tiling, owners
        return self._seen[finer]

    def _cover(self, wanted: Box, view: Shape, limit: int) -> Cover:
        if not wanted.elements:
            return Cover(())
        if len(self.boxes) == 1 and view == self.view(0) and self.boxes[0].contains(wanted):
            # A small tensor is one slice: nothing to search for.
            within, into = wanted.relative_to(self.boxes[0]), wanted.relative_to(wanted)
            return Cover(tuple(self._moves(self._part(0, within, into, wanted.extents), limit)))
        finer = self._finest(view)
        tiling, owners = self._tiling(finer)
        parts: list[CoverPart] = []
        boxes = reshape.refined(wanted, view, finer)
        asked = [(wanted, view)] if len(boxes) > 1 else [(wanted, view), (boxes[0], finer)]
        for box in boxes:
            numbers, low, high = tiling.find(box)
            hole = missing(box, low, high)
            if hole is not None:
                return Cover((), hole)
            numbers = owners[numbers]
            if view == finer == self.shape and not self.views:
                parts += self._alike(numbers, low, high, wanted, limit)
                continue
            for number, common in zip(numbers.tolist(), boxes_of(low, high), strict=True):
                parts += self._reshaped(number, common, finer, asked, limit)
        return Cover(tuple(parts))

    def _alike(
        self, numbers: Numbers, low: Numbers, high: Numbers, wanted: Box, limit: int
    ) -> Iterator[CoverPart]:
        """Parts of slices whose boxes are of one shape with the wanted one."""
        first = corners([self.boxes[number] for number in numbers.tolist()], low.shape[1])[0]
        within, into = low - first, low - np.array(wanted.offsets, np.int64)
        columns = (numbers, within, into, high - low)
        for number, a, b, c in zip(*(column.tolist() for column in columns), strict=True):
            extents = tuple(c)
            boxes = Box(tuple(a), extents), Box(tuple(b), extents)
            yield from self._moves(self._part(number, *boxes, wanted.extents), limit)

    def _moves(self, part: CoverPart, limit: int) -> Iterator[CoverPart]:
        """A part whose two boxes have the same extents, in blocks if it must be."""
        if self._moves_whole(part, limit):
            yield part
            return
        for blocks in zip(part.within.blocks(limit), part.into.blocks(limit), strict=True):
            yield self._part(part.slice, *blocks, part.extents)

    def _reshaped(
        self, number: int, box: Box, finer: Shape, asked: Sequence[tuple[Box, Shape]], limit: int
    ) -> Iterator[CoverPart]:
        """Parts of a slice that make up a box of the shape that refines it and the wanted one.

        Args:
            number: of the slice.
            box: of `finer`.
            finer: that shape.
            asked: the wanted box and its view; and the same as a box of `finer`, if it is one.
            limit: see `cover`.
        """
        own, (wanted, view) = self.view(number), asked[0]
        run = math.prod(reshape.split_extents(box, finer, (own, view)))
        if run < min(box.elements, limit // SMALL):
            # Much lies apart in the slice or in the wanted box: in `finer` it is less.
            wanted, view = asked[-1]

        def part(block: Box) -> CoverPart:
            within = reshape.merged(block, finer, own).relative_to(self.boxes[number])
            into = reshape.merged(block, finer, view).relative_to(wanted)
            return self._part(number, within, into, wanted.extents)

        for block in reshape.split(box, finer, (own, view)):
            found = part(block)
            if self._moves_whole(found, limit):
                yield found
            else:
                yield from map(part, block.blocks(limit))

    def _part(self, number: int, within: Box, into: Box, extents: Shape) -> CoverPart:
        run = into.is_run_of(extents)
        return CoverPart(
            slice=number,
            within=within,
            into=into,
            extents=extents,
            whole=within.extents == self.boxes[number].extents,
            first=into.first_of(extents) if run else -1,
        )

    def _moves_whole(self, part: CoverPart, limit: int) -> bool:
        return part.within.elements <= limit or (
            part.first >= 0 and part.within.is_run_of(self.boxes[part.slice].extents)
        )


def interned(shape: Shape, boxes: Sequence[Box], views: Sequence[View]) -> tuple[Layout, Numbers]:
    """The layout of boxes, and the number among them of each of its slices.

    Args:
        shape: of the tensor.
        boxes: in any order.
        views: what each is a box of; empty: all of the tensor itself.

    Raises:
        ValueError: a box has not the axes of its view.
    """
    seen = [shape if view is None else view for view in views]
    only = seen[0] if seen else shape
    key: object
    mixed = any(view != only for view in seen)
    if mixed:
        order = sorted(range(len(boxes)), key=lambda i: (seen[i], boxes[i].offsets))
        numbers = np.array(order, np.int64)
        key = (shape, tuple((seen[i], boxes[i]) for i in order))
    else:
        offsets, extents = corners(boxes, len(only))
        numbers = np.arange(len(boxes))
        if len(only) and len(boxes) > 1:
            numbers = np.lexsort(offsets.T[::-1])
            offsets, extents = offsets[numbers], extents[numbers]
        # The bytes of scalars, which have no axes, do not say how many there are.
        key = (shape, only, len(boxes), offsets.tobytes(), extents.tobytes())
    found = _LAYOUTS.get(key)
    if found is None:
        order = numbers.tolist()
        shapes = tuple(seen[i] for i in order) if mixed or only != shape else ()
        made = Layout(shape, tuple(boxes[i] for i in order), shapes)
        found = _LAYOUTS.keep(key, made, 1 + len(boxes))
    return found, numbers


_LAYOUTS: WeightedCache[object, Layout] = WeightedCache(1 << 18)
"""By geometry; in slices, of about 300 bytes each."""

_COVERS: WeightedCache[tuple[Layout, Box, Shape, int], Cover] = WeightedCache(1 << 18)
"""By layout and wanted box; in blocks, of about 500 bytes each."""
