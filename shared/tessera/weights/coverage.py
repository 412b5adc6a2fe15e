"""Whether slices make up every tensor exactly once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Layout
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.slice_index import SliceIndex
from tessera.weights.slice_table import SliceTable


def check_coverage(tensors: Sequence[TensorSpec], slices: Sequence[SliceSpec]) -> None:
    """Raise unless every element of every tensor lies in exactly one slice.

    Takes O(n log n) for n slices, on whatever axes they are cut; what is known of one tensor is
    known of all that are cut alike.

    Raises:
        FailedPreconditionError: something is missing (reason INCOMPLETE), twice there (reason
            OVERLAP), no part of its tensor (BOX_OUT_OF_TENSOR), or of another size than its box
            (SIZE_MISMATCH); `metadata` names group and tensor.
    """
    table = SliceTable.of(slices)
    _check_tensors(tensors, table)
    _check_axes(tensors, table)
    index = SliceIndex([tensor.shape for tensor in tensors], table.tensors, table.boxes)
    good: set[tuple[Layout, str, bytes]] = set()
    for number, tensor in enumerate(tensors):
        layout, places = index.of(number)
        sizes = table.columns.sizes[places]
        alike = (layout, tensor.dtype, sizes.tobytes())
        if alike not in good:
            _check_sizes(tensor, sizes, layout)
            _check_layout(tensor, layout)
            good.add(alike)


def _check_tensors(tensors: Sequence[TensorSpec], table: SliceTable) -> None:
    (wrong,) = np.nonzero((table.tensors < 0) | (table.tensors >= len(tensors)))
    if len(wrong):
        raise errors.FailedPreconditionError(
            f"a slice names tensor {table.tensors[wrong[0]]}, but the version has {len(tensors)}",
            reason="BOX_OUT_OF_TENSOR",
        )


def _check_axes(tensors: Sequence[TensorSpec], table: SliceTable) -> None:
    axes = np.array([len(tensor.shape) for tensor in tensors], np.int64)
    (wrong,) = np.nonzero(axes[table.tensors] != table.boxes.axes)
    if len(wrong):
        tensor = tensors[table.tensors[wrong[0]]]
        text = f"{_text(table.boxes[int(wrong[0])])} has not its axes"
        raise _refusal(tensor, "BOX_OUT_OF_TENSOR", text)


def _check_sizes(tensor: TensorSpec, sizes: Numbers, layout: Layout) -> None:
    """Of slices in the order of their layout."""
    if layout.outside is not None:
        text = f"{_text(layout.boxes[layout.outside])} lies outside of it"
        raise _refusal(tensor, "BOX_OUT_OF_TENSOR", text)
    (wrong,) = np.nonzero(sizes != layout.elements * tensor.element_size)
    if len(wrong):
        text = f"{_text(layout.boxes[wrong[0]])} came with {sizes[wrong[0]]} bytes"
        raise _refusal(tensor, "SIZE_MISMATCH", text)


def _check_layout(tensor: TensorSpec, layout: Layout) -> None:
    if (pair := layout.overlap) is not None:
        first, second = (layout.boxes[number] for number in pair)
        raise _refusal(tensor, "OVERLAP", f"{_text(first)} and {_text(second)} overlap")
    elements = tensor.box.elements
    if layout.volume != elements:
        text = f"{layout.volume} of {elements} elements were pushed; push the rest and seal"
        raise _refusal(tensor, "INCOMPLETE", text)


def _text(box: Box) -> str:
    return f"box {list(box.offsets)}+{list(box.extents)}"


def _refusal(tensor: TensorSpec, reason: str, text: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{tensor.group} tensor {tensor.name} of shape {list(tensor.shape)}: {text}",
        reason=reason,
        metadata={"group": tensor.group, "tensor": tensor.name},
    )
