"""Which of many boxes meet which others, without looking at all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

FANOUT = 32
"""Nodes below a node: numpy looks at so many as fast as at one."""

BATCH = 1 << 18
"""Pairs of a box and a node that are looked at together: what the search takes in memory."""


class BoxTree:
    """A packed R-tree: boxes, boxes around 32 of them that lie together, and so on to the top.

    To find the k of n boxes that meet a box takes O(k + log n) where they are a grid or cut along
    one axis, whatever the axis. The answer is exact for any boxes.

    Args:
        low: first index of every box on every axis; [boxes, axes].
        high: one past the last; no box is empty.
    """

    def __init__(self, low: Numbers, high: Numbers) -> None:
        self._order = _tiles(low)
        self._levels = [(low[self._order], high[self._order])]
        while len(low) > FANOUT:
            low, high = self._levels[-1]
            starts = np.arange(0, len(low), FANOUT)
            low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            self._levels.append((low, high))

    def pairs(self, low: Numbers, high: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
        """Numbers of the given boxes, and beside each that of one in the tree that meets it.

        They come in batches, in no order. No given box may be empty.
        """
        top = len(self._levels) - 1
        width = len(self._levels[top][0])
        step = max(1, BATCH // max(width, 1))
        for start in range(0, len(low), step):
            asked = np.arange(start, min(start + step, len(low)))
            yield from self._search(
                low, high, top, asked.repeat(width), np.tile(np.arange(width), len(asked))
            )

    def _search(
        self, low: Numbers, high: Numbers, level: int, asked: Numbers, nodes: Numbers
    ) -> Iterator[tuple[Numbers, Numbers]]:
        """Depth first, so that a batch is all that is held of a level."""
        node_low, node_high = self._levels[level]
        for axis in range(low.shape[1]):
            meet = low[asked, axis] < node_high[nodes, axis]
            meet &= node_low[nodes, axis] < high[asked, axis]
            asked, nodes = asked[meet], nodes[meet]
        if not level:
            if len(asked):
                yield asked, self._order[nodes]
            return
        below = len(self._levels[level - 1][0])
        step = BATCH // FANOUT
        for start in range(0, len(asked), step):
            children = nodes[start : start + step, None] * FANOUT + np.arange(FANOUT)
            there = children < below
            parents = np.broadcast_to(asked[start : start + step, None], children.shape)
            yield from self._search(low, high, level - 1, parents[there], children[there])


def _tiles(low: Numbers) -> Numbers:
    """An order in which boxes that follow one another lie together (sort-tile-recursive).

    The boxes are sorted along the first axis that they are cut on and divided into slabs; each slab
    is sorted along the next axis and divided, and so on. Slabs are whole nodes.
    """
    count = len(low)
    order = np.arange(count)
    cut = [axis for axis in range(low.shape[1]) if count and np.ptp(low[:, axis])]
    slab = np.zeros(count, np.int64)
    place, size = np.arange(count), max(count, 1)
    for done, axis in enumerate(cut):
        order = order[np.lexsort((low[order, axis], slab))]
        leaves = ceil(size / FANOUT)
        size = FANOUT * ceil(leaves / ceil(leaves ** (1 / (len(cut) - done))))
        slab = slab * count + place // size
        place %= size
        _, slab = np.unique(slab, return_inverse=True)
    return order
