"""A transfer out of a piece that was handed over, in parts that threads can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from tessera.weights import handed_piece, strided
from tessera.weights.box import Box
from tessera.weights.destination import Destination, window
from tessera.weights.handed_piece import WINDOW_BYTES, HandedPiece
from tessera.weights.manifest import SliceSpec
from tessera.weights.slice_runs import Flags
from tessera.weights.strided import Bytes
from tessera.weights.transfer_table import Transfer, TransferTable

PART_BYTES = 2 * WINDOW_BYTES
"""Of one run of memory that a thread copies before it asks for more."""

SPAN_BYTES = 4 * 1024 * 1024
"""How much of a slice is read at once, to gather from it what lies apart."""


class Scratch:
    """Memory of one thread for blocks of which not all is wanted, used again and again."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, size: int) -> Bytes:
        """So many bytes, until it is called again."""
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


Part = Callable[[Scratch], None]
"""Copies something, or raises DataLossError."""


def small(transfers: TransferTable) -> Flags:
    """Which are whole slices of one block that is not worth mapping, and lie in one run of memory.

    Of these `together` copies several at once.
    """
    columns = transfers.slices.columns
    limit = np.minimum(columns.block_bytes[transfers.sources], handed_piece.LEAST_MAPPED - 1)
    return transfers.whole & (transfers.starts >= 0) & (transfers.sizes <= limit)


def together(
    piece: HandedPiece,
    transfers: TransferTable,
    wants: Sequence[Destination],
    scratch: Scratch,
) -> None:
    """Copy a run of small slices.

    Raises:
        DataLossError: something of it is damaged.
    """
    del scratch
    columns = (transfers.wants, transfers.starts, transfers.sizes)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    targets = [window(wants[want], start, size) for want, start, size in rows]
    checksums = transfers.slices.columns.checksums[transfers.sources]
    piece.read_together(int(transfers.offsets[0]), targets, checksums.tolist())


def parts(piece: HandedPiece, transfer: Transfer, out: Bytes) -> Iterator[Part]:
    """What there is to do; each part writes elsewhere.

    Args:
        piece: has the bytes.
        transfer: says which.
        out: the buffer that they go into, 1-D.
    """
    target = strided.run(out, transfer.extents, transfer.element_size, transfer.into)
    if target is not None:
        yield from _packed(piece, transfer, target)
    else:
        # No more than the planner lets a reader stage.
        yield partial(_scatter, piece, transfer, out)


def _scatter(piece: HandedPiece, transfer: Transfer, out: Bytes, scratch: Scratch) -> None:
    packed = np.empty(transfer.size, np.uint8)
    for part in _packed(piece, transfer, packed):
        part(scratch)
    strided.scatter(packed, out, transfer.extents, transfer.element_size, transfer.into)


def _packed(piece: HandedPiece, transfer: Transfer, target: Bytes) -> Iterator[Part]:
    """Parts that fill `target` with the block, row-major."""
    source, size = transfer.source, transfer.element_size
    extents, filled = source.box.extents, 0
    if not transfer.within.elements:
        return
    for box in transfer.within.within(extents, SPAN_BYTES // size):
        part = target[filled : filled + box.elements * size]
        if box.is_run_of(extents):
            yield from _runs(piece, source, box.first_of(extents) * size, part)
        else:
            yield partial(_gather, piece, source, box, size, part)
        filled += part.size


def _runs(piece: HandedPiece, source: SliceSpec, start: int, target: Bytes) -> Iterator[Part]:
    """Bytes of a slice that follow one another, cut between blocks."""
    step = max(source.block_bytes, PART_BYTES - PART_BYTES % source.block_bytes)
    position, end = start, start + target.size
    while position < end:
        stop = min(end, position - position % step + step)
        yield partial(_copy, piece, source, position, target[position - start : stop - start])
        position = stop


def _copy(
    piece: HandedPiece, source: SliceSpec, start: int, target: Bytes, scratch: Scratch
) -> None:
    """Whole blocks go straight to where they belong; of the first and the last, what is wanted."""
    size, end = source.block_bytes, start + target.size
    first = min(end, start + -start % size)
    last = max(first, end if end == source.size else end - end % size)
    if first < last:
        piece.read(source, first, target[first - start : last - start])
    for low, high in ((start, first), (last, end)):
        if low < high:
            begin = low - low % size
            block = scratch.take(min(size, source.size - begin))
            piece.read(source, begin, block)
            target[low - start : high - start] = block[low - begin : high - begin]


def _gather(  # noqa: PLR0917 - where from, and where to
    piece: HandedPiece, source: SliceSpec, box: Box, size: int, target: Bytes, scratch: Scratch
) -> None:
    extents = source.box.extents
    start, end = (place * size for place in box.span_of(extents))
    low = start - start % source.block_bytes
    span = scratch.take(min(source.size, end + -end % source.block_bytes) - low)
    piece.read(source, low, span)
    strided.gather_into(target, span[start - low :], extents, size, box)
