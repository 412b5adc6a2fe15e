"""Whether slices make up every tensor exactly once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Layout
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.reshape import ReshapeError, View
from tessera.weights.slice_index import SliceIndex
from tessera.weights.slice_table import SliceTable
from tessera.weights.view_column import ViewColumn


def check_coverage(tensors: Sequence[TensorSpec], slices: Sequence[SliceSpec]) -> None:
    """Raise unless every element of every tensor lies in exactly one slice.

    Takes O(n log n) for n slices, on whatever axes they are cut; what is known of one tensor is
    known of all that are cut alike.

    Raises:
        FailedPreconditionError: something is missing (reason INCOMPLETE), twice there (reason
            OVERLAP), no part of its tensor (BOX_OUT_OF_TENSOR), of another size than its box
            (SIZE_MISMATCH), or a box of a view that is none of its tensor, or whose axes cross
            another's (VIEW_MISMATCH); `metadata` names group and tensor.
    """
    table = _Columns.of(slices)
    _check_tensors(tensors, table)
    _check_axes(tensors, table)
    shapes = [tensor.shape for tensor in tensors]
    index = SliceIndex(shapes, table.tensors, table.boxes, table.views)
    good: set[tuple[Layout, str, bytes]] = set()
    for number in np.flatnonzero(~_whole(tensors, table)).tolist():
        tensor = tensors[number]
        layout, places = index.of(number)
        sizes = table.sizes[places]
        alike = (layout, tensor.dtype, sizes.tobytes())
        if alike not in good:
            try:
                layout.finest  # noqa: B018 - it is found when it is asked for
                _check_sizes(tensor, sizes, layout)
                _check_layout(tensor, layout)
            except ReshapeError as error:
                raise _refusal(tensor, "VIEW_MISMATCH", str(error)) from None
            good.add(alike)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is looked at of slices."""

    tensors: Numbers
    boxes: BoxColumns
    views: ViewColumn
    sizes: Numbers

    @staticmethod
    def of(slices: Sequence[SliceSpec]) -> _Columns:
        if isinstance(slices, SliceTable):
            return _Columns(slices.tensors, slices.boxes, slices.views, slices.columns.sizes)
        return _Columns(
            np.array([source.tensor for source in slices], np.int64),
            BoxColumns.of([source.box for source in slices]),
            ViewColumn.of([source.view for source in slices]),
            np.array([source.size for source in slices], np.int64),
        )


def _check_tensors(tensors: Sequence[TensorSpec], table: _Columns) -> None:
    (wrong,) = np.nonzero((table.tensors < 0) | (table.tensors >= len(tensors)))
    if len(wrong):
        raise errors.FailedPreconditionError(
            f"a slice names tensor {table.tensors[wrong[0]]}, but the version has {len(tensors)}",
            reason="BOX_OUT_OF_TENSOR",
        )


def _check_axes(tensors: Sequence[TensorSpec], table: _Columns) -> None:
    axes = np.array([len(tensor.shape) for tensor in tensors], np.int64)
    (wrong,) = np.nonzero(table.views.axes(axes[table.tensors]) != table.boxes.axes)
    if len(wrong):
        place = int(wrong[0])
        tensor = tensors[table.tensors[place]]
        text = f"{_text(table.boxes[place], table.views[place])} has not its axes"
        raise _refusal(tensor, "BOX_OUT_OF_TENSOR", text)


def _whole(tensors: Sequence[TensorSpec], table: _Columns) -> npt.NDArray[np.bool_]:
    """Which tensors are one slice that is all of them: most are, where there are many."""
    whole = np.zeros(len(tensors), np.bool_)
    extents = BoxColumns.of([tensor.box for tensor in tensors])
    bytes_each = np.array([tensor.element_size for tensor in tensors], np.int64)
    counts = np.bincount(table.tensors, minlength=len(tensors))
    alone = counts[table.tensors] == 1
    if table.views:
        alone &= table.views.numbers == 0
    single = np.flatnonzero(alone)
    for axes in np.unique(table.boxes.axes[single]).tolist():
        rows = single[table.boxes.axes[single] == axes]
        numbers, own = table.tensors[rows], np.arange(axes)
        found = table.boxes.starts[rows][:, None] + own
        shapes = extents.extents[extents.starts[numbers][:, None] + own]
        whole[numbers] = (
            (table.boxes.offsets[found] == 0).all(axis=1)
            & (table.boxes.extents[found] == shapes).all(axis=1)
            & (table.sizes[rows] == shapes.prod(axis=1) * bytes_each[numbers])
        )
    return whole


def _check_sizes(tensor: TensorSpec, sizes: Numbers, layout: Layout) -> None:
    """Of slices in the order of their layout."""
    if layout.outside is not None:
        text = f"{_slice(layout, layout.outside)} lies outside of it"
        raise _refusal(tensor, "BOX_OUT_OF_TENSOR", text)
    (wrong,) = np.nonzero(sizes != layout.elements * tensor.element_size)
    if len(wrong):
        text = f"{_slice(layout, wrong[0])} came with {sizes[wrong[0]]} bytes"
        raise _refusal(tensor, "SIZE_MISMATCH", text)


def _check_layout(tensor: TensorSpec, layout: Layout) -> None:
    if (pair := layout.overlap) is not None:
        first, second = (_slice(layout, number) for number in pair)
        raise _refusal(tensor, "OVERLAP", f"{first} and {second} overlap")
    elements = tensor.box.elements
    if layout.volume != elements:
        text = f"{layout.volume} of {elements} elements were pushed; push the rest and seal"
        raise _refusal(tensor, "INCOMPLETE", text)


def _slice(layout: Layout, number: int) -> str:
    return _text(layout.boxes[number], layout.views[number] if layout.views else None)


def _text(box: Box, view: View) -> str:
    text = f"box {list(box.offsets)}+{list(box.extents)}"
    return text if view is None else f"{text} of view {list(view)}"


def _refusal(tensor: TensorSpec, reason: str, text: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{tensor.group} tensor {tensor.name} of shape {list(tensor.shape)}: {text}",
        reason=reason,
        metadata={"group": tensor.group, "tensor": tensor.name},
    )
