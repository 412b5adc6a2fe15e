"""The digest of what was pushed: the same in any order, from any ranks, and only for the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec
from tessera.weights.push_digest import push_digest, sum_of
from tessera.weights.slice_table import SliceTable

NUMBERS = st.integers(0, 2**40)
CHECKSUMS = st.integers(0, 2**64 - 1)


@st.composite
def specs(draw):
    shape = draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4))
    box = Box(tuple(low for low, _ in shape), tuple(extent for _, extent in shape))
    view = draw(st.none() | st.lists(NUMBERS, max_size=3).map(tuple))
    return SliceSpec(
        tensor=draw(st.integers(0, 1000)),
        box=box,
        view=view,
        shard=draw(st.sampled_from(["shard-0", "shard-1"])),
        piece=draw(st.sampled_from(["0-model-a", "1-model-b"])),
        offset=draw(NUMBERS),
        size=draw(NUMBERS),
        checksum=draw(CHECKSUMS),
        blocks=(),
        block_bytes=1,
    )


def digest(slices):
    columns = SliceTable.of(slices).columns
    return push_digest(columns.tensors, columns.boxes, columns.views, columns.checksums)


@given(st.lists(specs(), max_size=12), st.randoms())
def test_order_ranks_and_places_do_not_matter(slices, dice):
    moved = [replace(one, shard="shard-2", piece="7-model-c", offset=0) for one in slices]
    dice.shuffle(moved)
    cut = dice.randint(0, len(moved))
    assert sum_of([digest(moved[:cut]), digest(moved[cut:])]) == digest(slices)


@given(st.lists(specs(), min_size=1, max_size=6), st.data())
def test_anything_else_is_another_one(slices, data):
    place = data.draw(st.integers(0, len(slices) - 1))
    one = slices[place]
    box = Box((*one.box.offsets, 0), (*one.box.extents, 1))
    other = data.draw(
        st.sampled_from(
            [
                replace(one, tensor=one.tensor + 1),
                replace(one, checksum=one.checksum ^ 1),
                replace(one, box=box),
                replace(one, view=(*(one.view or ()), 7)),
            ]
        )
    )
    for changed in ([other], [], [one, one]):
        assert digest([*slices[:place], *changed, *slices[place + 1 :]]) != digest(slices)


@given(st.lists(specs(), min_size=1, max_size=3), st.randoms())
def test_numbers_that_change_places_are_noticed(slices, dice):
    one = slices[0]
    axes = list(zip(one.box.offsets, one.box.extents, strict=True))
    turned = [*axes]
    dice.shuffle(turned)
    box = Box(tuple(low for low, _ in turned), tuple(extent for _, extent in turned))
    swapped = Box(one.box.extents, one.box.offsets)
    for other in (box, swapped):
        same = other == one.box
        assert (digest([replace(one, box=other), *slices[1:]]) == digest(slices)) == same


def test_of_nothing():
    assert digest([]) == 0
    assert np.uint64(sum_of([2**64 - 1, 2])) == 1
