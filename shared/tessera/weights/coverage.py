"""Whether slices make up every tensor exactly once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec, TensorSpec


def check_coverage(tensors: Sequence[TensorSpec], slices: Iterable[SliceSpec]) -> None:
    """Raise unless every element of every tensor lies in exactly one slice.

    Raises:
        FailedPreconditionError: something is missing (reason INCOMPLETE), twice there (reason
            OVERLAP), no part of its tensor (BOX_OUT_OF_TENSOR), or of another size than its box
            (SIZE_MISMATCH); `metadata` names group and tensor.
    """
    held = defaultdict(list)
    for source in slices:
        if not 0 <= source.tensor < len(tensors):
            raise errors.FailedPreconditionError(
                f"a slice names tensor {source.tensor}, but the version has {len(tensors)}",
                reason="BOX_OUT_OF_TENSOR",
            )
        tensor = tensors[source.tensor]
        if source.size != source.box.elements * tensor.element_size:
            text = f"{_text(source.box)} came with {source.size} bytes"
            raise _refusal(tensor, "SIZE_MISMATCH", text)
        held[source.tensor].append(source.box)
    for index, tensor in enumerate(tensors):
        _check(tensor, held[index])


def _check(tensor: TensorSpec, boxes: list[Box]) -> None:
    for box in boxes:
        if not tensor.box.contains(box):
            raise _refusal(tensor, "BOX_OUT_OF_TENSOR", f"{_text(box)} lies outside of it")
    if (pair := overlap(boxes)) is not None:
        text = f"{_text(pair[0])} and {_text(pair[1])} overlap"
        raise _refusal(tensor, "OVERLAP", text)
    covered = sum(box.elements for box in boxes)
    if covered != tensor.box.elements:
        text = f"{covered} of {tensor.box.elements} elements were pushed; push the rest and seal"
        raise _refusal(tensor, "INCOMPLETE", text)


def overlap(boxes: Sequence[Box]) -> tuple[Box, Box] | None:
    """Two boxes that share an element; None if there are none."""
    active: list[Box] = []
    # Sorted by where they start on the first axis, a box meets only those that have not ended.
    for box in sorted((b for b in boxes if b.elements), key=lambda b: b.offsets):
        if box.offsets:
            active = [other for other in active if other.ends[0] > box.offsets[0]]
        for other in active:
            if box.intersect(other) is not None:
                return other, box
        active.append(box)
    return None


def _text(box: Box) -> str:
    return f"box {list(box.offsets)}+{list(box.extents)}"


def _refusal(tensor: TensorSpec, reason: str, text: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{tensor.group} tensor {tensor.name} of shape {list(tensor.shape)}: {text}",
        reason=reason,
        metadata={"group": tensor.group, "tensor": tensor.name},
    )
