"""Which shards keep a piece beside the first: on another node where there is one. Pure.

With each rank the copies of all shards' pieces move on by as many places, so that every shard takes
as much as it gives: chained declustering (Hsiao and DeWitt, 1990). The same rank's pieces of the
next version go to the same shards, which have most of what did not change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from tessera.parameters.piece import HeldPiece


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A piece to copy, and the shards to copy it from, the best one first."""

    piece: HeldPiece
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The shards as they are now.

    Attributes:
        nodes: of those that answer and may take more, by name.
        answering: those, and those that are drained but still give.
        counted: those whose copies count: the first ones, and such as are away for a moment.
    """

    nodes: Mapping[str, str]
    answering: frozenset[str]
    counted: frozenset[str]


def further_holders(
    piece: HeldPiece, holders: Sequence[str], nodes: Mapping[str, str], wanted: int
) -> list[str]:
    """Shards to copy a piece to, so that `wanted` have it, or all there are.

    Args:
        piece: whose first holder, rank and group decide.
        holders: shards that count as having it.
        nodes: of the shards that may take it, by name.
        wanted: how many holders there should be.
    """
    chosen = list(holders)
    order = _order(piece.piece.key, piece.holders[0], nodes)
    while len(chosen) < wanted:
        used = {nodes[name] for name in chosen if name in nodes}
        free = [name for name in order if name not in chosen]
        if not free:
            break
        chosen.append(next((name for name in free if nodes[name] not in used), free[0]))
    return chosen[len(holders) :]


def missing_copies(pieces: Iterable[HeldPiece], fleet: Fleet, wanted: int) -> dict[str, list[Copy]]:
    """What each shard has to copy so that every piece has its copies, and none is damaged.

    A piece of which no shard that answers has a sound copy is left out: nothing can be done.

    Args:
        pieces: of a version.
        fleet: the shards.
        wanted: shards that should have each.
    """
    found: dict[str, list[Copy]] = {}
    for held in pieces:
        sources = tuple(shard for shard in held.sound if shard in fleet.answering)
        if not sources:
            continue
        damaged = [
            shard for shard in held.holders if shard in held.damaged and shard in fleet.nodes
        ]
        sound = [shard for shard in held.sound if shard in fleet.counted]
        further = further_holders(held, [*sound, *damaged], fleet.nodes, wanted)
        for shard in [*damaged, *further]:
            found.setdefault(shard, []).append(Copy(piece=held, sources=sources))
    return found


def default_replicas(nodes: Collection[str]) -> int:
    """How many shards should have a piece where nobody says it: two, if that is two nodes.

    Args:
        nodes: of all shards, one for each.
    """
    return 2 if len(set(nodes)) > 1 else 1


def _order(key: str, first: str, nodes: Mapping[str, str]) -> list[str]:
    """The other shards, beginning at a place that depends on the key alone."""
    names = sorted({first, *nodes})
    others = len(names) - 1
    if not others:
        return []
    begin = names.index(first) + 1 + xxhash.xxh3_64_intdigest(key.encode()) % others
    turned = [names[(begin + step) % len(names)] for step in range(len(names))]
    return [name for name in turned if name in nodes]
