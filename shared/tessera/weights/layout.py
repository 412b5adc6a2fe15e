"""How the slices of a tensor lie in it, and what a reader takes from which of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tessera.weights import reshape
from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.reshape import Shape, View
from tessera.weights.tiling import Tiling, boxes_of, corners, missing
from tessera.weights.weighted_cache import WeightedCache


@dataclass(frozen=True, slots=True)
class CoverPart:
    """A block of a slice: `within` counts in the slice, `into` in the wanted box."""

    slice: int
    within: Box
    into: Box


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
        self._shapes = tuple(dict.fromkeys([shape, *views]))
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
        return reshape.common(self._shapes)

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
        return reshape.common([*self._shapes, view])

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
            return Cover(tuple(self._moves(CoverPart(0, within, into), wanted, limit)))
        finer = self._finest(view)
        tiling, owners = self._tiling(finer)
        parts: list[CoverPart] = []
        for box in reshape.refined(wanted, view, finer):
            numbers, low, high = tiling.find(box)
            hole = missing(box, low, high)
            if hole is not None:
                return Cover((), hole)
            numbers = owners[numbers]
            if view == finer == self.shape and not self.views:
                parts += self._alike(numbers, low, high, wanted, limit)
                continue
            for number, part in zip(numbers.tolist(), boxes_of(low, high), strict=True):
                for block in reshape.split(part, finer, (self.view(number), view)):
                    parts += self._reshaped(number, block, finer, wanted, view, limit)
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
            part = CoverPart(number, Box(tuple(a), extents), Box(tuple(b), extents))
            yield from self._moves(part, wanted, limit)

    def _moves(self, part: CoverPart, wanted: Box, limit: int) -> Iterator[CoverPart]:
        """A part whose two boxes have the same extents, in blocks if it must be."""
        if self._moves_whole(part, wanted, limit):
            yield part
            return
        for blocks in zip(part.within.blocks(limit), part.into.blocks(limit), strict=True):
            yield CoverPart(part.slice, *blocks)

    def _reshaped(  # noqa: PLR0917 - a block and the three shapes that it lies in
        self, number: int, block: Box, finer: Shape, wanted: Box, view: Shape, limit: int
    ) -> Iterator[CoverPart]:
        """The same of a block of the shape that refines the slice's and the wanted box's."""

        def part(block: Box) -> CoverPart:
            within = reshape.merged(block, finer, self.view(number))
            into = reshape.merged(block, finer, view)
            return CoverPart(
                number, within.relative_to(self.boxes[number]), into.relative_to(wanted)
            )

        whole = part(block)
        if self._moves_whole(whole, wanted, limit):
            yield whole
        else:
            yield from map(part, block.blocks(limit))

    def _moves_whole(self, part: CoverPart, wanted: Box, limit: int) -> bool:
        return part.within.elements <= limit or (
            part.within.is_run_of(self.boxes[part.slice].extents)
            and part.into.is_run_of(wanted.extents)
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
    if any(view != only for view in seen):
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
        shapes = tuple(seen[i] for i in order) if {*seen} - {shape} else ()
        made = Layout(shape, tuple(boxes[i] for i in order), shapes)
        found = _LAYOUTS.keep(key, made, 1 + len(boxes))
    return found, numbers


_LAYOUTS: WeightedCache[object, Layout] = WeightedCache(1 << 18)
"""By geometry; in slices, of about 300 bytes each."""

_COVERS: WeightedCache[tuple[Layout, Box, Shape, int], Cover] = WeightedCache(1 << 18)
"""By layout and wanted box; in blocks, of about 500 bytes each."""
