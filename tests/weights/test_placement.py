"""Who holds what: even, stable, and the same whoever asks."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.weights.box import Box
from tessera.weights.placement import SPLIT_BYTES, Placed, place, share, split_boxes


def slices(sizes):
    return [Placed(i, Box((0,), (size,)), size) for i, size in enumerate(sizes)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60), st.integers(1, 5))
def test_no_shard_has_more_than_the_mean_and_one_slice(sizes, count):
    shards = [f"shard-{i}" for i in range(count)]
    items = slices(sizes)
    chosen = place(items, shards)
    loads = dict.fromkeys(shards, 0)
    for item, name in zip(items, chosen, strict=True):
        loads[name] += item.size
    assert max(loads.values()) <= 1.05 * share(sizes, count) + max(sizes)
    shuffled = list(enumerate(items))
    random.Random(1).shuffle(shuffled)
    again = place([item for _, item in shuffled], list(reversed(shards)))
    assert [chosen[i] for i, _ in shuffled] == again


def test_many_slices_are_spread_evenly():
    items = slices([1000] * 400)
    chosen = place(items, ["shard-0", "shard-1"])
    assert 180 <= chosen.count("shard-0") <= 220


def test_a_tensor_that_outweighs_the_rest_is_split_along_its_first_axis():
    size = 16 * SPLIT_BYTES
    box = Box((3, 0), (256, 1024))
    parts = split_boxes(box, size, size // 2)
    assert len(parts) == 2
    assert [part.offsets for part in parts] == [(3, 0), (131, 0)]
    assert {part.extents for part in parts} == {(128, 1024)}
    assert split_boxes(box, SPLIT_BYTES, 10) == [box]
