"""Between the protobuf message of a table of slices and `SliceTable`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights.box_columns import BoxColumns
from tessera.weights.box_tree import Numbers
from tessera.weights.manifest import SliceSpec
from tessera.weights.slice_table import Checksums, SliceColumns, SliceTable
from tessera.weights.view_messages import views_from_pb, views_to_pb


def table_to_pb(slices: Sequence[SliceSpec]) -> pb.SliceTable:
    """Slices as a message."""
    columns = SliceTable.of(slices).columns
    return pb.SliceTable(
        places=[pb.SlicePlace(shard=shard, piece=piece) for shard, piece in columns.places],
        place=columns.place.tolist(),
        tensor=columns.tensors.tolist(),
        axes=columns.boxes.axes.tolist(),
        box_offsets=columns.boxes.offsets.tolist(),
        box_extents=columns.boxes.extents.tolist(),
        offset=columns.offsets.tolist(),
        size=columns.sizes.tolist(),
        checksum=columns.checksums.tolist(),
        block_count=columns.block_counts.tolist(),
        blocks=columns.blocks.tolist(),
        block_bytes=columns.block_bytes.tolist(),
        views=views_to_pb(columns.views),
        view=columns.views.numbers.tolist(),
    )


def table_from_pb(message: pb.SliceTable) -> SliceTable:
    """Slices from a message.

    Raises:
        InvalidArgumentError: its columns do not fit each other (INVALID_TABLE), or a view is none
            (INVALID_VIEW).
    """
    boxes = BoxColumns(
        _numbers(message.axes), _numbers(message.box_offsets), _numbers(message.box_extents)
    )
    columns = SliceColumns(
        places=tuple((place.shard, place.piece) for place in message.places),
        place=_numbers(message.place),
        tensors=_numbers(message.tensor),
        boxes=boxes,
        views=views_from_pb(message.views, message.view),
        offsets=_numbers(message.offset),
        sizes=_numbers(message.size),
        checksums=_sums(message.checksum),
        block_counts=_numbers(message.block_count),
        blocks=_sums(message.blocks),
        block_bytes=_numbers(message.block_bytes),
    )
    if not _fits(columns):
        raise errors.InvalidArgumentError.at(
            "tables", "the columns of a table do not fit each other", "INVALID_TABLE"
        )
    return SliceTable(columns)


def _fits(columns: SliceColumns) -> bool:
    """Whether every column has what the others say that it has."""
    boxes, count = columns.boxes, len(columns.tensors)
    each = (columns.place, boxes.axes, columns.offsets, columns.sizes)
    more = (columns.checksums, columns.block_counts, columns.block_bytes)
    counts = (boxes.axes, columns.block_counts, boxes.offsets, boxes.extents)
    return (
        all(len(column) == count for column in (*each, *more))
        and all(bool((column >= 0).all()) for column in (*counts, columns.place))
        and bool((columns.place < len(columns.places)).all())
        and len(boxes.offsets) == len(boxes.extents) == boxes.axes.sum()
        and len(columns.blocks) == columns.block_counts.sum()
        and columns.views.fits(count)
    )


def _numbers(values: Sequence[int]) -> Numbers:
    return np.array(values, np.int64)


def _sums(values: Sequence[int]) -> Checksums:
    return np.array(values, np.uint64)
