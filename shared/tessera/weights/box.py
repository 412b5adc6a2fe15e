"""Axis-aligned blocks of tensors and their algebra. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Box:
    """A block of a tensor: first index and length on every axis. A scalar has no axes.

    Raises:
        ValueError: the two differ in length, or a number is negative.
    """

    offsets: tuple[int, ...]
    extents: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.extents):
            raise ValueError(f"{len(self.offsets)} offsets but {len(self.extents)} extents")
        if min(*self.offsets, *self.extents, 0, 0) < 0:
            raise ValueError(f"negative number in box {self.offsets} {self.extents}")

    @staticmethod
    def whole(shape: Sequence[int]) -> Box:
        """The box that is all of a tensor."""
        return _whole(tuple(shape))

    @property
    def ends(self) -> tuple[int, ...]:
        """One past the last index on every axis."""
        return tuple(o + e for o, e in zip(self.offsets, self.extents, strict=True))

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.extents)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index of a numpy array or a tensor."""
        return tuple(slice(o, e) for o, e in zip(self.offsets, self.ends, strict=True))

    def contains(self, other: Box) -> bool:
        """Whether every element of `other` lies in this box."""
        return len(self.offsets) == len(other.offsets) and all(
            a <= b and c >= d
            for a, b, c, d in zip(self.offsets, other.offsets, self.ends, other.ends, strict=True)
        )

    def intersect(self, other: Box) -> Box | None:
        """The common part of two boxes of one tensor; None if there is none."""
        low = tuple(map(max, self.offsets, other.offsets))
        high = tuple(map(min, self.ends, other.ends))
        if any(h <= b for b, h in zip(low, high, strict=True)):
            return None
        return Box(low, tuple(h - b for b, h in zip(low, high, strict=True)))

    def relative_to(self, outer: Box) -> Box:
        """The same block, counted from the first index of `outer`."""
        moved = tuple(a - b for a, b in zip(self.offsets, outer.offsets, strict=True))
        return Box(moved, self.extents)

    def subtract(self, other: Box) -> list[Box]:
        """Disjoint boxes that make up this one without `other`."""
        common = self.intersect(other)
        if common is None:
            return [self] if self.elements else []
        rest = []
        low, high = list(self.offsets), list(self.ends)
        for axis, (start, end) in enumerate(zip(common.offsets, common.ends, strict=True)):
            if low[axis] < start:
                rest.append(_between(low, [*high[:axis], start, *high[axis + 1 :]]))
            if end < high[axis]:
                rest.append(_between([*low[:axis], end, *low[axis + 1 :]], high))
            low[axis], high[axis] = start, end
        return rest

    def is_run_of(self, extents: Sequence[int]) -> bool:
        """Whether the block is one run of memory in a row-major tensor of these extents."""
        if self.elements == 0:
            return True
        partial = False
        for own, full in zip(reversed(self.extents), reversed(extents), strict=True):
            if partial and own != 1:
                return False
            partial = partial or own != full
        return True

    def first_of(self, extents: Sequence[int]) -> int:
        """Row-major position of the first element in a tensor of these extents."""
        position = 0
        for offset, full in zip(self.offsets, extents, strict=True):
            position = position * full + offset
        return position

    def span_of(self, extents: Sequence[int]) -> tuple[int, int]:
        """Row-major positions of the first element in a tensor of these extents, and past the last.

        The block must not be empty.
        """
        last = Box(tuple(end - 1 for end in self.ends), (1,) * len(self.extents))
        return self.first_of(extents), last.first_of(extents) + 1

    def within(self, extents: Sequence[int], limit: int) -> Iterator[Box]:
        """Blocks in row-major order, each of which spans at most `limit` elements, or is a run."""
        first, last = self.span_of(extents)
        if last - first <= max(limit, 1) or self.is_run_of(extents):
            yield self
            return
        axis = self._first_axis()
        for slab in self._slabs(axis, limit // math.prod(extents[axis + 1 :])):
            yield from slab.within(extents, limit)

    def blocks(self, limit: int) -> Iterator[Box]:
        """Blocks of at most `limit` elements that follow one another in row-major order."""
        if self.elements <= max(limit, 1):
            if self.elements:
                yield self
            return
        axis = self._first_axis()
        for slab in self._slabs(axis, limit // (self.elements // self.extents[axis])):
            yield from slab.blocks(limit)

    def _first_axis(self) -> int:
        """The first axis on which there is more than one index."""
        return next(axis for axis, extent in enumerate(self.extents) if extent > 1)

    def _slabs(self, axis: int, rows: int) -> Iterator[Box]:
        """The block in parts of at most so many indices of an axis, and at least one."""
        rows = max(1, rows)
        for start in range(0, self.extents[axis], rows):
            offsets, extents = list(self.offsets), list(self.extents)
            offsets[axis] += start
            extents[axis] = min(rows, self.extents[axis] - start)
            yield Box(tuple(offsets), tuple(extents))


@lru_cache(1 << 12)
def _whole(shape: tuple[int, ...]) -> Box:
    """One for all tensors of a shape: a model has thousands, of a few shapes."""
    return Box((0,) * len(shape), shape)


def _between(low: Sequence[int], high: Sequence[int]) -> Box:
    return Box(tuple(low), tuple(h - b for b, h in zip(low, high, strict=True)))
