"""The slices of a version by columns: thousands are made, sent and checked at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import overload

import numpy as np
import numpy.typing as npt

from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns, gather, starts_of
from tessera.weights.box_tree import Numbers
from tessera.weights.manifest import SliceSpec
from tessera.weights.reshape import View
from tessera.weights.view_column import ViewColumn

Checksums = npt.NDArray[np.uint64]
Place = tuple[str, str]
"""Shard and piece."""

_Row = tuple[int, int, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceColumns:
    """What there is of each slice, as `SliceSpec` has it.

    Attributes:
        places: shards and pieces, each once.
        place: number of the one that the slice lies in.
        block_counts: how many of `blocks`, which lie one after another, are of it.
    """

    places: tuple[Place, ...]
    place: Numbers
    tensors: Numbers
    boxes: BoxColumns
    views: ViewColumn
    offsets: Numbers
    sizes: Numbers
    checksums: Checksums
    block_counts: Numbers
    blocks: Checksums
    block_bytes: Numbers


class SliceTable(Sequence[SliceSpec]):
    """Slices, each of which is made when it is asked for.

    Args:
        columns: of the slices.
    """

    def __init__(self, columns: SliceColumns) -> None:
        self.columns = columns

    @staticmethod
    def of(slices: Sequence[SliceSpec]) -> SliceTable:
        """A table of slices."""
        if isinstance(slices, SliceTable):
            return slices
        places: dict[Place, int] = {}
        columns = SliceColumns(
            place=_numbers(
                slices, lambda one: places.setdefault((one.shard, one.piece), len(places))
            ),
            places=tuple(places),
            tensors=_numbers(slices, lambda one: one.tensor),
            boxes=BoxColumns.of([one.box for one in slices]),
            views=ViewColumn.of([one.view for one in slices]),
            offsets=_numbers(slices, lambda one: one.offset),
            sizes=_numbers(slices, lambda one: one.size),
            checksums=np.array([one.checksum for one in slices], np.uint64),
            block_counts=_numbers(slices, lambda one: len(one.blocks)),
            blocks=np.array(list(chain.from_iterable(one.blocks for one in slices)), np.uint64),
            block_bytes=_numbers(slices, lambda one: one.block_bytes),
        )
        return SliceTable(columns)

    @staticmethod
    def join(parts: Sequence[Sequence[SliceSpec]]) -> SliceTable:
        """All slices of several tables, one after another."""
        found = [SliceTable.of(part).columns for part in parts]
        if len(found) == 1:
            return SliceTable(found[0])
        places: dict[Place, int] = {}
        numbers = [
            np.array([places.setdefault(name, len(places)) for name in one.places], np.int64)
            for one in found
        ]
        return SliceTable(
            SliceColumns(
                places=tuple(places),
                place=_all([own[one.place] for own, one in zip(numbers, found, strict=True)]),
                tensors=_all([one.tensors for one in found]),
                boxes=BoxColumns(
                    _all([one.boxes.axes for one in found]),
                    _all([one.boxes.offsets for one in found]),
                    _all([one.boxes.extents for one in found]),
                ),
                views=ViewColumn.join([(one.views, len(one.tensors)) for one in found]),
                offsets=_all([one.offsets for one in found]),
                sizes=_all([one.sizes for one in found]),
                checksums=_sums([one.checksums for one in found]),
                block_counts=_all([one.block_counts for one in found]),
                blocks=_sums([one.blocks for one in found]),
                block_bytes=_all([one.block_bytes for one in found]),
            )
        )

    def take(self, rows: Numbers, tensors: Numbers | None = None) -> SliceTable:
        """Some of them, in that order.

        Args:
            rows: which.
            tensors: what they count as now; None: what they are of.
        """
        columns = self.columns
        blocks = gather(columns.blocks.view(np.int64), self._block_starts, rows).view(np.uint64)
        return SliceTable(
            SliceColumns(
                places=columns.places,
                place=columns.place[rows],
                tensors=columns.tensors[rows] if tensors is None else tensors,
                boxes=columns.boxes.take(rows),
                views=columns.views.take(rows),
                offsets=columns.offsets[rows],
                sizes=columns.sizes[rows],
                checksums=columns.checksums[rows],
                block_counts=columns.block_counts[rows],
                blocks=blocks,
                block_bytes=columns.block_bytes[rows],
            )
        )

    @property
    def tensors(self) -> Numbers:
        """The tensor that each is of."""
        return self.columns.tensors

    @property
    def boxes(self) -> BoxColumns:
        """The box of each."""
        return self.columns.boxes

    @property
    def views(self) -> ViewColumn:
        """What each is a box of."""
        return self.columns.views

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return int(self.columns.sizes.sum())

    def __len__(self) -> int:
        return len(self.columns.tensors)

    @overload
    def __getitem__(self, place: int) -> SliceSpec: ...
    @overload
    def __getitem__(self, place: slice) -> list[SliceSpec]: ...
    def __getitem__(self, place: int | slice) -> SliceSpec | list[SliceSpec]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self._made(self._rows[place], self.boxes[place], self.views[place])

    def __iter__(self) -> Iterator[SliceSpec]:
        return map(self._made, self._rows, self.boxes, self.views.each(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(own == one for own, one in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as lists have none

    def _made(self, row: _Row, box: Box, view: View) -> SliceSpec:
        tensor, at, offset, size, checksum, first, last, block_bytes = row
        shard, piece = self.columns.places[at]
        return SliceSpec(
            tensor=tensor,
            box=box,
            shard=shard,
            piece=piece,
            offset=offset,
            size=size,
            checksum=checksum,
            blocks=tuple(self._blocks[first:last]),
            block_bytes=block_bytes,
            view=view,
        )

    @cached_property
    def _block_starts(self) -> Numbers:
        return starts_of(self.columns.block_counts)

    @cached_property
    def _blocks(self) -> list[int]:
        blocks: list[int] = self.columns.blocks.tolist()
        return blocks

    @cached_property
    def _rows(self) -> list[_Row]:
        """What is one number of each slice."""
        columns, starts = self.columns, self._block_starts
        numbers = (columns.tensors, columns.place, columns.offsets, columns.sizes)
        rest = (columns.checksums, starts[:-1], starts[1:], columns.block_bytes)
        return list(zip(*(each.tolist() for each in (*numbers, *rest)), strict=True))


def _numbers(slices: Sequence[SliceSpec], get: Callable[[SliceSpec], int]) -> Numbers:
    return np.array([get(one) for one in slices], np.int64)


def _all(parts: Sequence[Numbers]) -> Numbers:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _sums(parts: Sequence[Checksums]) -> Checksums:
    return np.concatenate([np.empty(0, np.uint64), *parts])
