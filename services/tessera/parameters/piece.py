"""A piece as the coordinator knows it: whose it is, how much, and what has to lie in it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from tessera.weights.manifest import SliceSpec, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceSpec:
    """A piece of a version.

    Attributes:
        name: of it, the same on every shard.
        group: of its tensors.
        size: bytes.
        digest: of its slices, as `digest_of` makes it.
    """

    name: str
    group: str
    size: int
    digest: str

    @property
    def key(self) -> str:
        """Rank and group, whose pieces of the next version go to the same shards."""
        return self.name.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPiece:
    """A piece, the shards that should have it, and those of them that have it damaged."""

    piece: PieceSpec
    holders: tuple[str, ...]
    damaged: frozenset[str]

    @property
    def sound(self) -> tuple[str, ...]:
        """Shards that have it as it was written."""
        return tuple(shard for shard in self.holders if shard not in self.damaged)


def distinct(slices: Iterable[SliceSpec]) -> list[SliceSpec]:
    """Of slices that several shards have, those of the one that is named first."""
    first: dict[str, str] = {}
    return [
        source for source in slices if first.setdefault(source.piece, source.shard) == source.shard
    ]


def pieces_of(
    tensors: Sequence[TensorSpec], slices: Iterable[SliceSpec]
) -> list[tuple[PieceSpec, tuple[str, ...]]]:
    """Pieces and the shards that have them, in the order in which slices name them.

    Args:
        tensors: of the version.
        slices: as every shard tells of its own; what several have is named several times.
    """
    found: dict[tuple[str, str], list[SliceSpec]] = defaultdict(list)
    for source in slices:
        found[source.piece, source.shard].append(source)
    holders: dict[str, list[str]] = defaultdict(list)
    for name, shard in found:
        holders[name].append(shard)
    pieces = []
    for name, shards in holders.items():
        lying = found[name, shards[0]]
        piece = PieceSpec(
            name=name,
            group=tensors[lying[0].tensor].group,
            size=sum(source.size for source in lying),
            digest=digest_of(lying),
        )
        pieces.append((piece, tuple(shards)))
    return pieces


def digest_of(slices: Iterable[SliceSpec]) -> str:
    """Which slices lie where in a piece, and their checksums: 16 hexadecimal digits."""
    hasher = xxhash.xxh3_64()
    for source in sorted(slices, key=lambda one: one.offset):
        box = (*source.box.offsets, *source.box.extents)
        hasher.update(np.array([source.tensor, source.offset, source.size, *box], "<i8").data)
        hasher.update(source.checksum.to_bytes(8, "little"))
    return hasher.hexdigest()
