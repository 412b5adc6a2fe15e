"""Which shard takes which slice: rendezvous hashing with a bound on each shard's share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from tessera.weights.box import Box
from tessera.weights.reshape import View

SLACK = 1.05
"""How far above the mean a shard's share may lie before its slices go elsewhere."""

SPLIT_BYTES = 1024 * 1024
"""Slices below this size are not worth splitting."""


class Placed(NamedTuple):
    """A slice to place: tensor index, box, bytes, and what the box is one of."""

    tensor: int
    box: Box
    size: int
    view: View = None


def split_boxes(box: Box, size: int, limit: int) -> list[Box]:
    """The box, or blocks of whole rows of its first axes, of at most about `limit` bytes each."""
    if size <= max(limit, SPLIT_BYTES) or not box.elements:
        return [box]
    parts = -(-size // max(limit, SPLIT_BYTES))
    return list(box.blocks(-(-box.elements // parts)))


def share(sizes: Sequence[int], shards: int) -> int:
    """Bytes that an even distribution gives to each shard."""
    return -(-sum(sizes) // shards)


def place(slices: Sequence[Placed], shards: Sequence[str]) -> list[str]:
    """Name of the shard for each slice; the same for the same arguments, in any order.

    Big slices choose first. Each takes the shard that rendezvous hashing ranks highest among those
    whose share it would not push above the mean and `SLACK`; failing that, the emptiest one.
    """
    if len(shards) == 1:
        return [shards[0]] * len(slices)
    load = dict.fromkeys(sorted(shards), 0)
    bound = SLACK * share([item.size for item in slices], len(shards))
    keys = [(-item.size, item.tensor, item.box.offsets, item.view or ()) for item in slices]
    order = sorted(range(len(slices)), key=keys.__getitem__)
    chosen = [""] * len(slices)
    for position in order:
        item = slices[position]
        free = [name for name in load if load[name] + item.size <= bound]
        if free:
            key = f"{item.tensor}:{item.box.offsets}:{item.box.extents}"
            if item.view is not None:
                key += f":{item.view}"
            name = max(free, key=lambda shard: _rank(shard, key))
        else:
            name = min(load, key=lambda shard: load[shard])
        load[name] += item.size
        chosen[position] = name
    return chosen


def _rank(shard: str, key: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{shard}/{key}".encode())
