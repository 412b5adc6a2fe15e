"""Whether slices make up every tensor exactly once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.layout import Layout
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.slice_index import SliceIndex


def check_coverage(tensors: Sequence[TensorSpec], slices: Sequence[SliceSpec]) -> None:
    """Raise unless every element of every tensor lies in exactly one slice.

    Takes O(n log n) for n slices, on whatever axes they are cut; what is known of one tensor is
    known of all that are cut alike.

    Raises:
        FailedPreconditionError: something is missing (reason INCOMPLETE), twice there (reason
            OVERLAP), no part of its tensor (BOX_OUT_OF_TENSOR), or of another size than its box
            (SIZE_MISMATCH); `metadata` names group and tensor.
    """
    for source in slices:
        if not 0 <= source.tensor < len(tensors):
            raise errors.FailedPreconditionError(
                f"a slice names tensor {source.tensor}, but the version has {len(tensors)}",
                reason="BOX_OUT_OF_TENSOR",
            )
    index = SliceIndex(
        [tensor.shape for tensor in tensors],
        [source.tensor for source in slices],
        [source.box for source in slices],
    )
    for number, tensor in enumerate(tensors):
        _check_axes(tensor, [slices[place] for place in index.slices(number).tolist()])
        layout, places = index.of(number)
        _check_sizes(tensor, [slices[place] for place in places.tolist()], layout)
        _check_layout(tensor, layout)


def _check_axes(tensor: TensorSpec, slices: Sequence[SliceSpec]) -> None:
    axes = len(tensor.shape)
    for source in slices:
        if len(source.box.offsets) != axes:
            raise _refusal(tensor, "BOX_OUT_OF_TENSOR", f"{_text(source.box)} has not its axes")


def _check_sizes(tensor: TensorSpec, slices: Sequence[SliceSpec], layout: Layout) -> None:
    """Of slices in the order of their layout."""
    if layout.outside is not None:
        text = f"{_text(layout.boxes[layout.outside])} lies outside of it"
        raise _refusal(tensor, "BOX_OUT_OF_TENSOR", text)
    sizes = np.fromiter((source.size for source in slices), np.int64, len(slices))
    (wrong,) = np.nonzero(sizes != layout.elements * tensor.element_size)
    if len(wrong):
        source = slices[wrong[0]]
        text = f"{_text(source.box)} came with {source.size} bytes"
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
