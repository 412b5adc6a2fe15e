"""From slices that shards hold to boxes that a reader wants: which bytes go where. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.box_columns import gather, starts_of
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Cover, Layout
from tessera.weights.manifest import Manifest, TensorSpec
from tessera.weights.reshape import ReshapeError, View
from tessera.weights.slice_table import SliceTable
from tessera.weights.transfer_table import PartTable, TransferTable

BLOCK_BYTES = 4 * 1024 * 1024
"""Largest strided transfer: what a reader must stage before it can be scattered."""


class Wanted(NamedTuple):
    """A box of the tensor of that index; the reader keeps it dense and row-major.

    `view`: the box is one of the tensor's elements in this shape; None: in its own.
    """

    tensor: int
    box: Box
    view: View = None


def plan(manifest: Manifest, wants: Iterable[Wanted]) -> TransferTable:
    """Transfers that fill every wanted box exactly once.

    Where slices overlap (replicas), the one that gives most wins, so that few holders are asked.
    What was planned for a tensor that is cut alike is not planned again, in whatever version.

    Raises:
        DataLossError: no slice holds some wanted element (reason GAP).
        InvalidArgumentError: a wanted box does not lie in its tensor (reason BOX_OUT_OF_TENSOR), or
            the slices cannot be seen in its view (reason VIEW_MISMATCH).
    """
    covers: list[_Alike] = []
    tensors: list[int] = []
    chosen: list[int] = []
    # Most tensors are cut alike and wanted alike. What has these ids is kept with the covers.
    known: dict[tuple[int, int, View, str], int] = {}
    index = manifest.slice_index
    for want in wants:
        tensor = manifest.tensors[want.tensor]
        layout = index.layout(want.tensor)
        key = (id(layout), id(want.box), want.view, tensor.dtype)
        number = known.get(key)
        if number is None:
            number = known[key] = len(covers)
            cover = _cover(tensor, want, layout)
            covers.append(_Alike(layout, want.box, cover, tensor.element_size))
        tensors.append(want.tensor)
        chosen.append(number)
    return _table(manifest, covers, np.array(chosen, np.int64), np.array(tensors, np.int64))


class _Alike(NamedTuple):
    """What makes up all boxes that are wanted alike of tensors that are cut alike."""

    layout: Layout
    box: Box
    cover: Cover
    element_size: int


def _table(
    manifest: Manifest, covers: Sequence[_Alike], chosen: Numbers, tensors: Numbers
) -> TransferTable:
    """The transfers of wants.

    Args:
        manifest: of the version.
        covers: each once.
        chosen: number of the cover that makes up each wanted box.
        tensors: that each wanted box is of.
    """
    counts = np.array([len(one.cover.parts) for one in covers], np.int64)
    element_sizes = np.array([one.element_size for one in covers], np.int64)
    parts = PartTable(
        list(chain.from_iterable(one.cover.parts for one in covers)),
        np.repeat(element_sizes, counts),
    )
    part = gather(np.arange(len(parts.parts)), starts_of(counts), chosen)
    wants = np.repeat(np.arange(len(chosen)), counts[chosen])
    sources = manifest.slice_index.rows(tensors[wants], parts.slices[part])
    return TransferTable(SliceTable.of(manifest.slices), parts, wants, sources, part)


def _cover(tensor: TensorSpec, want: Wanted, layout: Layout) -> Cover:
    """What makes up a wanted box of a tensor."""
    _check(tensor, want)
    try:
        cover = layout.cover(want.box, want.view, BLOCK_BYTES // tensor.element_size)
    except ReshapeError as error:
        raise _mismatch(tensor, str(error)) from None
    if cover.missing is not None:
        raise errors.DataLossError(
            f"no slice holds {cover.missing.offsets}+{cover.missing.extents} of {tensor.group}"
            f" tensor {tensor.name}; the version is not whole",
            reason="GAP",
            metadata={"group": tensor.group, "tensor": tensor.name},
        )
    return cover


def _check(tensor: TensorSpec, want: Wanted) -> None:
    shape = tensor.shape if want.view is None else want.view
    if math.prod(shape) != math.prod(tensor.shape):
        raise _mismatch(tensor, f"a view of shape {shape} has another number of elements")
    if not Box.whole(shape).contains(want.box):
        raise errors.InvalidArgumentError(
            f"box {want.box.offsets}+{want.box.extents} does not lie in {tensor.group} tensor"
            f" {tensor.name} of shape {shape}",
            reason="BOX_OUT_OF_TENSOR",
        )


def _mismatch(tensor: TensorSpec, text: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"{tensor.group} tensor {tensor.name} of shape {tensor.shape}: {text}",
        reason="VIEW_MISMATCH",
    )
