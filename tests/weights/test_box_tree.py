"""The search for boxes that meet, against looking at every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.weights import box_tree
from tessera.weights.box_tree import BoxTree


def boxes(random, count, axes):
    low = random.integers(0, 50, (count, axes))
    return low, low + random.integers(1, random.choice([2, 8, 50]), (count, axes))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 200),
    st.integers(0, 80),
    st.integers(0, 3),
    st.sampled_from([64, 1000, box_tree.BATCH]),
)
def test_every_pair_that_meets_is_found_once(seed, held, asked, axes, batch):
    random = np.random.default_rng(seed)
    low, high = boxes(random, held, axes)
    their_low, their_high = boxes(random, asked, axes)
    meet = (their_low[:, None] < high[None]) & (low[None] < their_high[:, None])
    expected = set(zip(*(side.tolist() for side in np.nonzero(meet.all(axis=2))), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box_tree, "BATCH", batch)
        batches = list(BoxTree(low, high).pairs(their_low, their_high))
    found = [pair for a, b in batches for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("grid", [(4096, 1), (1, 4096), (64, 64), (1024, 4)])
def test_few_are_looked_at_to_find_few(axis, grid, monkeypatch):
    """A stripe of a grid, whatever the axis that it runs along."""
    rows, columns = np.meshgrid(*(np.arange(count) for count in grid), indexing="ij")
    low = np.stack([rows.reshape(-1), columns.reshape(-1)], axis=1)
    tree = BoxTree(low, low + 1)
    looked = []
    search = BoxTree._search

    def counted(self, *arguments):
        looked.append(len(arguments[-1]))
        return search(self, *arguments)

    monkeypatch.setattr(BoxTree, "_search", counted)
    start, end = [0, 0], list(grid)
    start[axis], end[axis] = grid[axis] // 2, grid[axis] // 2 + 1
    hits = sum(len(found) for _, found in tree.pairs(np.array([start]), np.array([end])))
    assert hits == grid[1 - axis]
    assert sum(looked) <= 2 * box_tree.FANOUT * (hits + np.log2(len(low)))
