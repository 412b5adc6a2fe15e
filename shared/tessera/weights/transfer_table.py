"""What is to be moved by columns: thousands are planned, asked for and verified at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import CoverPart
from tessera.weights.manifest import SliceSpec
from tessera.weights.record import record
from tessera.weights.reshape import Shape
from tessera.weights.slice_runs import Flags
from tessera.weights.slice_table import Place, SliceTable


@record
class Transfer:
    """A block to move: `within` counts in the slice, `into` in the wanted box.

    `extents`: in which the memory of the wanted box is seen for that; most often its own.
    """

    want: int
    source: SliceSpec
    within: Box
    into: Box
    extents: Shape
    element_size: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.within.elements * self.element_size

    @property
    def whole(self) -> bool:
        """Whether it is all of the slice."""
        return self.within.extents == self.source.box.extents


class PartTable:
    """Parts of covers, each once, however many tensors are covered alike.

    Args:
        parts: of covers.
        element_sizes: bytes of an element of each.
    """

    def __init__(self, parts: Sequence[CoverPart], element_sizes: Numbers) -> None:
        count = len(parts)
        self.parts = parts
        self.element_sizes = element_sizes
        self.slices = np.fromiter((part.slice for part in parts), np.int64, count)
        self.whole = np.fromiter((part.whole for part in parts), np.bool_, count)
        elements = np.fromiter((part.within.elements for part in parts), np.int64, count)
        self.sizes = elements * element_sizes
        first = np.fromiter((part.first for part in parts), np.int64, count)
        self.starts = np.where(first < 0, -1, first * element_sizes)


class TransferTable(Sequence[Transfer]):
    """Transfers, each of which is made when it is asked for.

    Args:
        slices: of the version.
        parts: that transfers move.
        wants: number of the wanted box that each goes into.
        sources: number of the slice that each is of.
        part: number of what each moves among `parts`.
    """

    def __init__(
        self, slices: SliceTable, parts: PartTable, wants: Numbers, sources: Numbers, part: Numbers
    ) -> None:
        self.slices = slices
        self.wants = wants
        self.sources = sources
        self._parts = parts
        self._part = part

    @cached_property
    def sizes(self) -> Numbers:
        """Bytes of each."""
        return self._parts.sizes[self._part]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return int(self.sizes.sum())

    @cached_property
    def whole(self) -> Flags:
        """Whether each is all of its slice."""
        return self._parts.whole[self._part]

    @property
    def starts(self) -> Numbers:
        """From which byte of its wanted box on each is one run there; -1: it is none."""
        return self._parts.starts[self._part]

    @property
    def place(self) -> Numbers:
        """Number of the place, among those of the slices, that each comes from."""
        return self.slices.columns.place[self.sources]

    @property
    def offsets(self) -> Numbers:
        """Where the slice of each begins in its piece."""
        return self.slices.columns.offsets[self.sources]

    @property
    def places(self) -> dict[int, Place]:
        """Shard and piece by number, of those that something comes from."""
        places = self.slices.columns.places
        used = np.flatnonzero(np.bincount(self.place, minlength=len(places)))
        return {number: places[number] for number in used.tolist()}

    def in_order(self, *, runs: bool) -> TransferTable:
        """As their bytes lie in the pieces; with `runs`, whole slices come last."""
        return self.take(np.lexsort((self.offsets, self.place, runs & self.whole)))

    def at(self, places: Sequence[int]) -> TransferTable:
        """Those that come from some places."""
        rows = np.isin(self.place, places)
        return self if rows.all() else self.take(np.flatnonzero(rows))

    def take(self, rows: Numbers) -> TransferTable:
        """Some of them, in that order."""
        return TransferTable(
            self.slices, self._parts, self.wants[rows], self.sources[rows], self._part[rows]
        )

    def __len__(self) -> int:
        return len(self.wants)

    @overload
    def __getitem__(self, place: int) -> Transfer: ...
    @overload
    def __getitem__(self, place: slice) -> TransferTable: ...
    def __getitem__(self, place: int | slice) -> Transfer | TransferTable:
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        return self._made(*(int(each[place]) for each in (self.wants, self.sources, self._part)))

    def __iter__(self) -> Iterator[Transfer]:
        columns = (self.wants, self.sources, self._part)
        return map(self._made, *(column.tolist() for column in columns))

    def _made(self, want: int, source: int, number: int) -> Transfer:
        part = self._parts.parts[number]
        return Transfer(
            want=want,
            source=self.slices[source],
            within=part.within,
            into=part.into,
            extents=part.extents,
            element_size=int(self._parts.element_sizes[number]),
        )
