"""Boxes of slices as bytes to send, packed row-major."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import xxhash

from tessera import errors
from tessera.parameters.slice_file import OpenSliceFile, SliceFile
from tessera.parameters.slice_store import Key, SliceStore
from tessera.weights import strided
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec
from tessera.weights.record import record
from tessera.weights.slice_runs import RUN_BYTES, runs
from tessera.weights.strided import Bytes

SPAN_BYTES = 4 * 1024 * 1024
"""How much of a slice is read at once, to gather from it what lies apart."""


@record
class Item:
    """A box of the slice that begins at `offset` of a piece; `extents` are the whole slice's."""

    piece: str
    offset: int
    extents: tuple[int, ...]
    element_size: int
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRun:
    """Whole slices of a piece, by where they begin in it."""

    piece: str
    offsets: Sequence[int]


class Reading:
    """The bytes of items, then those of runs, one after another.

    Args:
        store: where they lie.
        key: set and version.
        items: what to read.
        runs: what to read then.

    Attributes:
        checksums: of what has been read so far.
        size: bytes of it.
    """

    def __init__(
        self, store: SliceStore, key: Key, items: Sequence[Item], runs: Sequence[SliceRun] = ()
    ) -> None:
        self._store = store
        self._key = key
        self._items = items
        self._runs = runs
        self.checksums: list[int] = []
        self.size = 0

    def blocks(self) -> Iterator[Bytes]:
        """The bytes, verified, in parts of at most `SPAN_BYTES`.

        Raises:
            NotFoundError: a piece was dropped (reason PIECE_NOT_FOUND).
            InvalidArgumentError: an item does not fit its slice (reason BAD_ITEM).
            DataLossError: the disk is damaged.
        """
        for name, items in groupby(self._items, lambda item: item.piece):
            piece = self._store.piece(self._key, name)
            yield from self._noted(piece, self._piece(piece, items))
        for run in self._runs:
            piece = self._store.piece(self._key, run.piece)
            yield from self._noted(piece, self._run(piece, run.offsets))

    def _noted(self, piece: SliceFile, blocks: Iterator[Bytes]) -> Iterator[Bytes]:
        """What is read of a piece; the store hears if it is damaged."""
        try:
            yield from blocks
        except errors.DataLossError as error:
            self._store.note(self._key, piece, error)
            raise

    def _piece(self, piece: SliceFile, items: Iterable[Item]) -> Iterator[Bytes]:
        with piece.opened() as file:
            for item in items:
                source = piece.slice(item.offset)
                _check(item, source)
                yield from self._counted(_read(file, source, item))

    def _run(self, piece: SliceFile, offsets: Sequence[int]) -> Iterator[Bytes]:
        with piece.opened() as file:
            sources = [piece.slice(offset) for offset in offsets]
            sizes = np.array([source.size for source in sources], np.int64)
            blocks = np.array([len(source.blocks) for source in sources], np.int64)
            small = (blocks == 1) & (sizes <= RUN_BYTES)
            for first, last in runs(np.array(offsets, np.int64), sizes, small):
                if last - first == 1:
                    source = sources[first]
                    yield from self._counted(file.read(source, 0, source.size))
                    continue
                block = file.read_together(sources[first:last])
                self.size += block.size
                # A slice of one block has been held against this just now.
                self.checksums += (source.blocks[0] for source in sources[first:last])
                yield block

    def _counted(self, blocks: Iterator[Bytes]) -> Iterator[Bytes]:
        hasher = xxhash.xxh3_64()
        for block in blocks:
            hasher.update(block.data)
            self.size += block.size
            yield block
        self.checksums.append(hasher.intdigest())


def _check(item: Item, source: SliceSpec) -> None:
    whole = Box.whole(item.extents)
    if (
        item.element_size < 1
        or source.box.extents != item.extents
        or whole.elements * item.element_size != source.size
        or not whole.contains(item.box)
    ):
        raise errors.InvalidArgumentError(
            f"box {list(item.box.offsets)}+{list(item.box.extents)} of extents"
            f" {list(item.extents)} does not fit the slice at {item.offset} of {item.piece}",
            reason="BAD_ITEM",
        )


def _read(file: OpenSliceFile, source: SliceSpec, item: Item) -> Iterator[Bytes]:
    if not item.box.elements:
        return
    size, extents = item.element_size, item.extents
    if item.box.is_run_of(extents):
        start = item.box.first_of(extents) * size
        yield from file.read(source, start, start + item.box.elements * size)
        return
    kept_start, kept = 0, np.empty(0, np.uint8)
    for box in item.box.within(extents, SPAN_BYTES // size):
        start, end = (place * size for place in box.span_of(extents))
        if not kept_start <= start <= end <= kept_start + kept.size:
            # More than is needed now: rows that follow lie in the same blocks.
            kept_start, last = start, min(source.size, max(end, start + SPAN_BYTES))
            kept = np.concatenate(list(file.read(source, start, last)))
        yield strided.gather_from(kept[start - kept_start :], extents, size, box)
