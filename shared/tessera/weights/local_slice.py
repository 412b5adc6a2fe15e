"""A slice that a rank holds, and whether it fits its tensor. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tessera import errors
from tessera.weights import reshape
from tessera.weights.box import Box
from tessera.weights.manifest import TensorSpec
from tessera.weights.placement import SPLIT_BYTES, share, split_boxes
from tessera.weights.record import record
from tessera.weights.reshape import MOST_AXES, ReshapeError, Shape, View
from tessera.weights.strided import Bytes


@record
class LocalSlice:
    """A slice that this rank holds.

    `tensor` is the index in the opened version's tensors; `data` is contiguous 1-D uint8, the box's
    elements in row-major order. `view`: the box is one of the tensor's elements in this shape, for
    example (3, h, d) of a matrix of shape (3 h, d); None: in its own.
    """

    tensor: int
    group: str
    box: Box
    data: Bytes
    view: View = None


def divided(
    tensors: Sequence[TensorSpec], slices: Sequence[LocalSlice], shards: int
) -> list[LocalSlice]:
    """Slices as they are stored: empty ones are left out, of big ones each shard gets a part.

    Raises:
        InvalidArgumentError: one does not fit its tensor (BAD_SLICE; VIEW_MISMATCH or
            BOX_OUT_OF_TENSOR where it is a box of a view), or names none (UNKNOWN_TENSOR).
    """
    slices = [_checked(tensors, item) for item in slices]
    limit = share([item.data.size for item in slices], shards) if slices else 0
    parts = []
    for item in slices:
        if item.data.size <= max(limit, SPLIT_BYTES):
            if item.data.size:
                parts.append(item)
            continue
        start = 0
        for box in split_boxes(item.box, item.data.size, limit):
            size = box.elements * tensors[item.tensor].element_size
            parts.append(replace(item, box=box, data=item.data[start : start + size]))
            start += size
    return parts


def _checked(tensors: Sequence[TensorSpec], item: LocalSlice) -> LocalSlice:
    """A slice that fits its tensor; what is a box of the tensor itself has no view."""
    if not 0 <= item.tensor < len(tensors):
        raise errors.InvalidArgumentError(
            f"slice names tensor {item.tensor}, but the version has {len(tensors)} tensors",
            reason="UNKNOWN_TENSOR",
        )
    tensor = tensors[item.tensor]
    if item.view is not None:
        _check_view(tensor, item, item.view)
        if item.view == tensor.shape:
            item = replace(item, view=None)
    whole = tensor.box if item.view is None else Box.whole(item.view)
    wrong = ""
    if item.group != tensor.group:
        wrong = f"its group is {tensor.group}, not {item.group}"
    elif item.box is not whole and not whole.contains(item.box):
        wrong = f"box {item.box.offsets}+{item.box.extents} is outside of shape {tensor.shape}"
    elif item.data.dtype != np.uint8 or item.data.ndim != 1 or not item.data.flags.c_contiguous:
        wrong = "the data must be a contiguous 1-D array of uint8"
    elif item.data.size != item.box.elements * tensor.element_size:
        wrong = (
            f"the box takes {item.box.elements * tensor.element_size} bytes, not {item.data.size}"
        )
    if wrong:
        raise errors.InvalidArgumentError(
            f"slice of {tensor.group} tensor {tensor.name}: {wrong}", reason="BAD_SLICE"
        )
    return item


def _check_view(tensor: TensorSpec, item: LocalSlice, view: Shape) -> None:
    wrong, reason = "", "VIEW_MISMATCH"
    try:
        reshape.common([tensor.shape, view])
    except ReshapeError as error:
        wrong = str(error)
    if len(view) > MOST_AXES:
        wrong = f"a view has at most {MOST_AXES} axes"
    if not wrong and not Box.whole(view).contains(item.box):
        wrong = f"box {item.box.offsets}+{item.box.extents} is outside of view {view}"
        reason = "BOX_OUT_OF_TENSOR"
    if wrong:
        raise errors.InvalidArgumentError(
            f"slice of {tensor.group} tensor {tensor.name} of shape {tensor.shape}: {wrong}",
            reason=reason,
        )
