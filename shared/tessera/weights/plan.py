"""From slices that shards hold to boxes that a reader wants: which bytes go where. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec, TensorSpec

BLOCK_BYTES = 4 * 1024 * 1024
"""Largest strided transfer: what a reader must stage before it can be scattered."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A box of the tensor of that index; the reader keeps it dense and row-major."""

    tensor: int
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A block to move: `within` counts in the slice, `into` in the wanted box."""

    want: int
    source: SliceSpec
    within: Box
    into: Box
    element_size: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.within.elements * self.element_size


def plan(
    tensors: Sequence[TensorSpec], slices: Iterable[SliceSpec], wants: Sequence[Wanted]
) -> list[Transfer]:
    """Transfers that fill every wanted box exactly once.

    Where slices overlap (replicas), the one that gives most wins, so that few holders are asked.

    Raises:
        DataLossError: no slice holds some wanted element (reason GAP).
        InvalidArgumentError: a wanted box does not lie in its tensor (reason BOX_OUT_OF_TENSOR).
    """
    held = defaultdict(list)
    for source in slices:
        held[source.tensor].append(source)
    transfers = []
    for position, want in enumerate(wants):
        tensor = tensors[want.tensor]
        if not tensor.box.contains(want.box):
            raise errors.InvalidArgumentError(
                f"box {want.box.offsets}+{want.box.extents} does not lie in {tensor.group} tensor"
                f" {tensor.name} of shape {tensor.shape}",
                reason="BOX_OUT_OF_TENSOR",
            )
        for source, part in _cover(tensor, want.box, held[want.tensor]):
            within, into = part.relative_to(source.box), part.relative_to(want.box)
            runs = within.is_run_of(source.box.extents) and into.is_run_of(want.box.extents)
            limit = part.elements if runs else BLOCK_BYTES // tensor.element_size
            transfers += [
                Transfer(
                    want=position,
                    source=source,
                    within=block.relative_to(source.box),
                    into=block.relative_to(want.box),
                    element_size=tensor.element_size,
                )
                for block in part.blocks(limit)
            ]
    return transfers


def _cover(
    tensor: TensorSpec, wanted: Box, slices: Sequence[SliceSpec]
) -> list[tuple[SliceSpec, Box]]:
    """Disjoint parts of `wanted` and the slice that gives each."""
    found = []
    for source in slices:
        common = source.box.intersect(wanted)
        if common is not None:
            found.append((common.elements, source))
    found.sort(key=lambda pair: (-pair[0], pair[1].shard, pair[1].piece, pair[1].offset))
    missing = [wanted] if wanted.elements else []
    parts = []
    for _, source in found:
        rest = []
        for hole in missing:
            common = hole.intersect(source.box)
            if common is not None:
                parts.append((source, common))
            rest.extend(hole.subtract(source.box))
        missing = rest
        if not missing:
            return parts
    if missing:
        raise errors.DataLossError(
            f"no slice holds {missing[0].offsets}+{missing[0].extents} of {tensor.group} tensor"
            f" {tensor.name}; the version is not whole",
            reason="GAP",
            metadata={"group": tensor.group, "tensor": tensor.name},
        )
    return parts
