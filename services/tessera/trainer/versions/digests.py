"""Hashes of tensors as they are in memory now: proofs that do not rest on what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import xxhash
from torch import Tensor

from tessera.trainer.control.reporter import Reporter
from tessera.trainer.ranks import Ranks
from tessera.trainer.versions.layout import LocalTensor, owned, to_bytes
from tessera.weights.box import Box
from tessera.weights.manifest import Manifest

Digest = dict[str, object]
"""`tensor`, `offsets`, `extents`, `checksum` (xxh3-64 of the row-major bytes, hexadecimal)."""


def live(ranks: Ranks, placed: Sequence[LocalTensor]) -> list[Digest]:
    """A hash of every rank's part of every tensor, on every rank."""
    return _gathered(
        ranks,
        [
            _digest(item.spec.name, item.box, item.part)
            for _, item in owned(placed, ranks.rank, ranks.world_size)
            if item.part is not None
        ],
    )


def live_in(
    ranks: Ranks, placed: Sequence[LocalTensor], boxes: Mapping[str, Iterable[Box]]
) -> list[Digest]:
    """A hash of each of these boxes, by tensor; those that lie on no single rank are left out."""
    own = [
        _digest(item.spec.name, box, item.part[box.relative_to(item.box).slices])
        for _, item in owned(placed, ranks.rank, ranks.world_size)
        if item.part is not None
        for box in boxes.get(item.spec.name, ())
        if item.box.contains(box)
    ]
    return _gathered(ranks, own)


def stored_boxes(manifest: Manifest, group: str) -> dict[str, list[Box]]:
    """The boxes in which a version keeps the tensors of a group, but for those of views."""
    boxes: dict[str, list[Box]] = {}
    for piece in manifest.slices:
        spec = manifest.tensors[piece.tensor]
        if spec.group == group and piece.view is None:
            boxes.setdefault(spec.name, []).append(piece.box)
    return boxes


def tell_digests(
    reporter: Reporter, ranks: Ranks, placed: Sequence[LocalTensor], version: tuple[int, int]
) -> None:
    """Hash the live model, not what was pushed: a proof of the last version from outside.

    Args:
        reporter: of rank 0.
        ranks: the ranks.
        placed: the tensors of the model.
        version: that they are, and its step.
    """
    found = live(ranks, placed)
    if ranks.is_main:
        about = {"version": version[0], "step": version[1], "digests": found}
        message = f"{len(found)} slices of the model as the ranks hold them"
        reporter.event("digests", message, about)


def _gathered(ranks: Ranks, own: list[Digest]) -> list[Digest]:
    return [digest for part in ranks.gather(own) for digest in part]


def _digest(name: str, box: Box, part: Tensor) -> Digest:
    return {
        "tensor": name,
        "offsets": list(box.offsets),
        "extents": list(box.extents),
        "checksum": f"{xxhash.xxh3_64_intdigest(to_bytes(part).data):016x}",
    }
