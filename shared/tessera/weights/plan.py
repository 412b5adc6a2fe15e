"""From slices that shards hold to boxes that a reader wants: which bytes go where. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Cover, Layout
from tessera.weights.manifest import Manifest, SliceSpec, TensorSpec
from tessera.weights.record import record
from tessera.weights.reshape import ReshapeError, View

BLOCK_BYTES = 4 * 1024 * 1024
"""Largest strided transfer: what a reader must stage before it can be scattered."""


class Wanted(NamedTuple):
    """A box of the tensor of that index; the reader keeps it dense and row-major.

    `view`: the box is one of the tensor's elements in this shape; None: in its own.
    """

    tensor: int
    box: Box
    view: View = None


@record
class Transfer:
    """A block to move: `within` counts in the slice, `into` in the wanted box.

    `extents`: in which the memory of the wanted box is seen for that; most often its own.
    """

    want: int
    source: SliceSpec
    within: Box
    into: Box
    extents: tuple[int, ...]
    element_size: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.within.elements * self.element_size

    @property
    def whole(self) -> bool:
        """Whether it is all of the slice."""
        return self.within.extents == self.source.box.extents


class TransferPlan:
    """Transfers that fill every wanted box exactly once, made as they are asked for.

    Args:
        manifest: of the version.
        covers: for every wanted box the bytes of an element, what makes it up, and the slices of
            the manifest that this counts in.
    """

    def __init__(self, manifest: Manifest, covers: Sequence[tuple[int, Cover, Numbers]]) -> None:
        self._manifest = manifest
        self._covers = covers

    def __len__(self) -> int:
        return sum(len(cover.parts) for _, cover, _ in self._covers)

    def __iter__(self) -> Iterator[Transfer]:
        slices = self._manifest.slices
        for want, (size, cover, numbers) in enumerate(self._covers):
            places = numbers.tolist()
            for part in cover.parts:
                yield Transfer(
                    want=want,
                    source=slices[places[part.slice]],
                    within=part.within,
                    into=part.into,
                    extents=part.extents,
                    element_size=size,
                )


def plan(manifest: Manifest, wants: Sequence[Wanted]) -> TransferPlan:
    """Transfers that fill every wanted box exactly once.

    Where slices overlap (replicas), the one that gives most wins, so that few holders are asked.
    What was planned for a tensor that is cut alike is not planned again, in whatever version.

    Raises:
        DataLossError: no slice holds some wanted element (reason GAP).
        InvalidArgumentError: a wanted box does not lie in its tensor (reason BOX_OUT_OF_TENSOR), or
            the slices cannot be seen in its view (reason VIEW_MISMATCH).
    """
    covers = []
    # Of the wants, which stay as long as this does: most tensors are cut alike and wanted alike.
    known: dict[tuple[int, int, View, str], tuple[int, Cover]] = {}
    index = manifest.slice_index
    for want in wants:
        tensor = manifest.tensors[want.tensor]
        layout, numbers = index.of(want.tensor)
        alike = (id(layout), id(want.box), want.view, tensor.dtype)
        found = known.get(alike)
        if found is None:
            found = known[alike] = tensor.element_size, _cover(tensor, want, layout)
        size, cover = found
        if cover.missing is not None:
            raise errors.DataLossError(
                f"no slice holds {cover.missing.offsets}+{cover.missing.extents} of {tensor.group}"
                f" tensor {tensor.name}; the version is not whole",
                reason="GAP",
                metadata={"group": tensor.group, "tensor": tensor.name},
            )
        covers.append((size, cover, numbers))
    return TransferPlan(manifest, covers)


def _cover(tensor: TensorSpec, want: Wanted, layout: Layout) -> Cover:
    """What makes up a wanted box of a tensor."""
    _check(tensor, want)
    try:
        return layout.cover(want.box, want.view, BLOCK_BYTES // tensor.element_size)
    except ReshapeError as error:
        raise _mismatch(tensor, str(error)) from None


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
