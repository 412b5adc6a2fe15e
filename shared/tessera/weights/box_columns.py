"""Boxes by columns: many are kept, moved and compared as numbers, and made when asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise, starmap
from typing import overload

import numpy as np

from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers


def starts_of(counts: Numbers) -> Numbers:
    """Where each of ragged rows begins that lie one after another, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def gather(flat: Numbers, starts: Numbers, rows: Numbers) -> Numbers:
    """Some of ragged rows, one after another."""
    counts = starts[rows + 1] - starts[rows]
    ends = np.cumsum(counts)
    moved = np.repeat(starts[rows] - (ends - counts), counts)
    return flat[moved + np.arange(len(moved))]


class BoxColumns(Sequence[Box]):
    """Boxes of any numbers of axes.

    Args:
        axes: of each box.
        offsets: of all boxes, one after another.
        extents: the same.
    """

    def __init__(self, axes: Numbers, offsets: Numbers, extents: Numbers) -> None:
        self.axes = axes
        self.offsets = offsets
        self.extents = extents
        self._boxes: dict[bytes, Box] = {}

    @staticmethod
    def of(boxes: Sequence[Box]) -> BoxColumns:
        """The columns of boxes."""
        if isinstance(boxes, BoxColumns):
            return boxes
        axes = np.array([len(box.offsets) for box in boxes], np.int64)
        return BoxColumns(
            axes, _flat(box.offsets for box in boxes), _flat(box.extents for box in boxes)
        )

    def __len__(self) -> int:
        return len(self.axes)

    @overload
    def __getitem__(self, place: int) -> Box: ...
    @overload
    def __getitem__(self, place: slice) -> list[Box]: ...
    def __getitem__(self, place: int | slice) -> Box | list[Box]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        return self._made(self._begins[number], self._begins[number + 1])

    def __iter__(self) -> Iterator[Box]:
        return starmap(self._made, pairwise(self._begins))

    def take(self, rows: Numbers) -> BoxColumns:
        """Some of them, in that order."""
        begins = self.starts
        return BoxColumns(
            self.axes[rows],
            gather(self.offsets, begins, rows),
            gather(self.extents, begins, rows),
        )

    def key(self, place: int) -> bytes:
        """The same for boxes that are equal, and for no others of as many axes."""
        return self._packed[16 * self._begins[place] : 16 * self._begins[place + 1]]

    def _made(self, begin: int, end: int) -> Box:
        """The box whose numbers these are; there are few that differ, of many small tensors."""
        key = self._packed[16 * begin : 16 * end]
        found = self._boxes.get(key)
        if found is None:
            offsets, extents = (each[begin:end].tolist() for each in (self.offsets, self.extents))
            self._boxes[key] = found = Box(tuple(offsets), tuple(extents))
        return found

    @cached_property
    def starts(self) -> Numbers:
        """Where the numbers of each box begin, and where those of the last one end."""
        return starts_of(self.axes)

    @cached_property
    def _begins(self) -> list[int]:
        begins: list[int] = self.starts.tolist()
        return begins

    @cached_property
    def _packed(self) -> bytes:
        return np.stack([self.offsets, self.extents], axis=1).tobytes()


def _flat(rows: Iterable[tuple[int, ...]]) -> Numbers:
    return np.fromiter(chain.from_iterable(rows), np.int64)
