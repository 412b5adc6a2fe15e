"""A piece as the coordinator knows it: whose it is, how much, and what has to lie in it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.slice_table import SliceTable


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


def distinct(slices: SliceTable) -> SliceTable:
    """Of slices that several shards have, those of the one that is named first."""
    first: dict[str, int] = {}
    for number, (_, piece) in enumerate(slices.columns.places):
        first.setdefault(piece, number)
    if len(first) == len(slices.columns.places):
        return slices
    return slices.take(np.flatnonzero(np.isin(slices.columns.place, list(first.values()))))


def pieces_of(
    tensors: Sequence[TensorSpec], slices: SliceTable
) -> list[tuple[PieceSpec, tuple[str, ...]]]:
    """Pieces and the shards that have them, in the order in which slices name them.

    Args:
        tensors: of the version.
        slices: as every shard tells of its own; what several have is named several times.
    """
    places = slices.columns.places
    holders: dict[str, list[int]] = defaultdict(list)
    for number, (_, piece) in enumerate(places):
        holders[piece].append(number)
    order = np.argsort(slices.columns.place, kind="stable")
    starts = np.searchsorted(slices.columns.place[order], np.arange(len(places) + 1))
    pieces = []
    for name, numbers in holders.items():
        lying = slices.take(order[starts[numbers[0]] : starts[numbers[0] + 1]])
        if not lying:
            continue
        spec = PieceSpec(
            name=name,
            group=tensors[int(lying.tensors[0])].group,
            size=lying.size,
            digest=digest_of(lying),
        )
        pieces.append((spec, tuple(places[number][0] for number in numbers)))
    return pieces


def digest_of(slices: Sequence[SliceSpec]) -> str:
    """Which slices lie where in a piece, of which views, and their checksums: 16 hex digits."""
    table = SliceTable.of(slices)
    columns = table.take(np.argsort(table.columns.offsets)).columns
    boxes = columns.boxes
    hasher = xxhash.xxh3_64()
    for column in (columns.tensors, columns.offsets, columns.sizes, columns.checksums):
        hasher.update(np.ascontiguousarray(column).data)
    for column in (boxes.axes, boxes.offsets, boxes.extents):
        hasher.update(np.ascontiguousarray(column).data)
    # Without any, it is what it was before there were views: shards and coordinators keep it.
    if columns.views:
        hasher.update(columns.views.text(len(table)).encode())
    return hasher.hexdigest()
