"""Boxes of slices as bytes to send, packed row-major."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from tessera import errors
from tessera.parameters.slice_store import Key, SliceStore
from tessera.weights import strided
from tessera.weights.box import Box
from tessera.weights.strided import Bytes

BLOCK_BYTES = 1024 * 1024
"""How much is hashed, or gathered from strided memory, at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A box of the slice that begins at `offset` of a piece; `extents` are the whole slice's."""

    piece: str
    offset: int
    extents: tuple[int, ...]
    element_size: int
    box: Box


class Reading:
    """The bytes of items, one after another; `checksums` grows as they are read.

    Args:
        store: where they lie.
        key: set and version.
        items: what to read.
    """

    def __init__(self, store: SliceStore, key: Key, items: Sequence[Item]) -> None:
        self._store = store
        self._key = key
        self._items = items
        self.checksums: list[int] = []
        self.size = 0

    def blocks(self) -> Iterator[Bytes]:
        """The bytes: views where they are contiguous on disk, else copies of at most a block.

        Raises:
            NotFoundError: a piece was dropped (reason PIECE_NOT_FOUND).
            InvalidArgumentError: an item does not fit its slice (reason BAD_ITEM).
            DataLossError: the disk is damaged.
        """
        for item in self._items:
            hasher = xxhash.xxh3_64()
            for block in self._item(item):
                hasher.update(block.data)
                self.size += block.size
                yield block
            self.checksums.append(hasher.intdigest())

    def _item(self, item: Item) -> Iterator[Bytes]:
        source, data = self._store.piece(self._key, item.piece).read(item.offset)
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
        run = strided.run(data, item.extents, item.element_size, item.box)
        if run is not None:
            for start in range(0, run.size, BLOCK_BYTES):
                yield run[start : start + BLOCK_BYTES]
            return
        for box in item.box.blocks(BLOCK_BYTES // item.element_size):
            yield strided.gather(data, item.extents, item.element_size, box)
