"""What a push announces, out of its messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.parameters.push_stream import Announced
from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.messages import box_from_pb
from tessera.weights.reshape import View
from tessera.weights.view_messages import view_from_pb, views_from_pb

# Names become parts of paths; nothing else is let through.
_GROUP = re.compile(r"[a-z0-9][-_a-z0-9]*")


def announced(message: pb.SliceHeaders) -> Iterator[Announced]:
    """The slices of a message, in the order of their bytes.

    Raises:
        InvalidArgumentError: a header is none (INVALID_BOX, INVALID_VIEW, BAD_HEADER), or a box
            does not lie in its view (BOX_OUT_OF_TENSOR).
    """
    for header in message.headers:
        _check(header.tensor, header.group, header.size)
        reuse = (header.reuse.version, header.reuse.tensor) if header.HasField("reuse") else None
        box = box_from_pb(header.box)
        view = view_from_pb(header.view) if header.HasField("view") else None
        _check_view(box, view)
        yield Announced(
            tensor=header.tensor,
            group=header.group,
            box=box,
            size=header.size,
            checksum=header.checksum,
            reuse=reuse,
            view=view,
        )
    if message.HasField("table"):
        yield from _listed(message.table)


def _listed(table: pb.HeaderTable) -> Iterator[Announced]:
    boxes, groups = _boxes(table), list(table.groups)
    views = _views(table, boxes)
    sizes, tensors, group = list(table.size), list(table.tensor), list(table.group)
    if not len(sizes) == len(tensors) == len(group) == len(table.checksum) == len(boxes):
        raise _unfit("the columns of its table have not one length")
    if sizes and not 0 <= min(group) <= max(group) < len(groups):
        raise _unfit("it has no group of some number")
    if sizes:
        for name in groups:
            _check(min(tensors), name, min(sizes))
    columns = (tensors, group, boxes, sizes, table.checksum, views)
    for tensor, number, box, size, checksum, view in zip(*columns, strict=True):
        yield Announced(
            tensor=tensor, group=groups[number], box=box, size=size, checksum=checksum, view=view
        )


def _boxes(table: pb.HeaderTable) -> BoxColumns:
    axes, offsets, extents = (
        np.fromiter(column, np.int64, len(column))
        for column in (table.axes, table.box_offsets, table.box_extents)
    )
    if (axes < 0).any() or not len(offsets) == len(extents) == axes.sum():
        raise _unfit("the boxes of its table have not the axes that they should")
    if (offsets < 0).any() or (extents < 0).any():
        raise errors.InvalidArgumentError.at("box", "negative number in a box", "INVALID_BOX")
    return BoxColumns(axes, offsets, extents)


def _views(table: pb.HeaderTable, boxes: BoxColumns) -> Iterable[View]:
    views = views_from_pb(table.views, table.view)
    if not views.fits(len(boxes)):
        raise _unfit("the views of its table do not fit the boxes")
    if views:
        for box, view in zip(boxes, views.each(len(boxes)), strict=True):
            _check_view(box, view)
    return views.each(len(boxes))


def _check_view(box: Box, view: View) -> None:
    """Whether the tensor has such a view is the coordinator's to say, who knows its shape."""
    if view is not None and not Box.whole(view).contains(box):
        raise errors.InvalidArgumentError.at(
            "box",
            f"box {list(box.offsets)}+{list(box.extents)} does not lie in view {list(view)}",
            "BOX_OUT_OF_TENSOR",
        )


def _check(tensor: int, group: str, size: int) -> None:
    if size < 1 or tensor < 0 or not _GROUP.fullmatch(group):
        raise _unfit(
            f"size of tensor {tensor} must be positive, group lower-case letters, digits, dashes"
            " and underscores"
        )


def _unfit(text: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(f"header: {text}", reason="BAD_HEADER")
