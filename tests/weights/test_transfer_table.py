"""What is planned by columns is what one would plan of one want after the other."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilings import layout, of_views, reshapes

from tessera.weights import plan as planner
from tessera.weights import pull as puller
from tessera.weights.box import Box
from tessera.weights.holding import by_holder
from tessera.weights.manifest import Manifest, SliceSpec, TensorSpec, Version, VersionState
from tessera.weights.plan import Wanted, plan
from tessera.weights.slice_table import SliceTable
from tessera.weights.transfer_table import Transfer

VERSION = Version(
    set="default/w", number=1, state=VersionState.COMMITTED, epoch=1, job="j", attempt=1, step=1
)
SHARDS = 3


def random_manifest(dice):
    """Tensors that are whole, cut, held twice, empty, or without axes, most of few shapes.

    Of some the slices are boxes of views. Returns with it the shapes of each to read it in.
    """
    plain = [(), (0, 3), (4, 6), (5,), tuple(dice.randint(1, 4) for _ in range(3))]
    kinds = [[shape] for shape in plain] + [reshapes(dice, 3) for _ in range(3)]
    tensors, slices, seen = [], [], []
    ends = dict.fromkeys(range(SHARDS), 0)
    for number in range(dice.randint(1, 12)):
        shape, *views = dice.choice(kinds)
        tensor = TensorSpec(
            group="model", name=f"t{number}", shape=shape, dtype=dice.choice(["U8", "F32"])
        )
        tensors.append(tensor)
        seen.append([None, *views])
        for box, view in cuts(dice, tensor, views):
            size = box.elements * tensor.element_size
            shard = dice.randrange(SHARDS)
            if size:
                slices.append(
                    SliceSpec(
                        tensor=number,
                        box=box,
                        shard=f"shard-{shard}",
                        piece=f"0-model-{shard}",
                        offset=ends[shard],
                        size=size,
                        checksum=dice.getrandbits(64),
                        view=view,
                    )
                )
            ends[shard] += size
    dice.shuffle(slices)
    copies = {f"0-model-{n}": (f"shard-{(n + 1) % SHARDS}",) for n in range(SHARDS - 1)}
    manifest = Manifest(
        version=VERSION,
        tensors=tuple(tensors),
        slices=SliceTable.of(slices),
        assets={},
        copies=copies,
        runs=dice.random() < 0.8,
    )
    return manifest, seen


def cuts(dice, tensor, views):
    """Boxes that make a tensor up, and what each is one of; one of them may be there twice."""
    if dice.random() < 0.5:
        view = dice.choice([None, *views])
        found = [(tensor.box if view is None else Box.whole(view), view)]
    else:
        found = list(zip(*of_views(dice, tensor.shape, views or [tensor.shape]), strict=True))
    return [*found, dice.choice(found)] if found and dice.random() < 0.3 else found


def random_wants(dice, manifest, seen):
    """Whole tensors, and boxes of them, some of them twice, in one shape or another."""
    wants = []
    for _ in range(dice.randint(0, 20)):
        number = dice.randrange(len(manifest.tensors))
        tensor = manifest.tensors[number]
        view = dice.choice(seen[number])
        box = tensor.box if view is None else Box.whole(view)
        if dice.random() < 0.4:
            box = dice.choice(layout(dice, box.extents))
        wants.append(Wanted(number, box, view))
    return wants


def one_by_one(manifest, wants):
    """The same as `plan`, without columns."""
    found = []
    for number, want in enumerate(wants):
        tensor = manifest.tensors[want.tensor]
        cover, places = manifest.slice_index.of(want.tensor)
        limit = planner.BLOCK_BYTES // tensor.element_size
        for part in cover.cover(want.box, want.view, limit).parts:
            found.append(
                Transfer(
                    want=number,
                    source=manifest.slices[int(places[part.slice])],
                    within=part.within,
                    into=part.into,
                    extents=part.extents,
                    element_size=tensor.element_size,
                )
            )
    return found


def elements(tensor, box, view):
    """Which of a tensor's elements a box has, in its order."""
    numbers = np.arange(tensor.box.elements).reshape(tensor.shape if view is None else view)
    return numbers[box.slices].reshape(-1)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([8, planner.BLOCK_BYTES]))
def test_columns_are_the_transfers_of_one_want_after_the_other(seed, block):
    dice = random.Random(seed)
    manifest, seen = random_manifest(dice)
    wants = random_wants(dice, manifest, seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        table, expected = plan(manifest, wants), one_by_one(manifest, wants)
    assert list(table) == expected
    assert [table[number] for number in range(len(table))] == expected
    assert table.sizes.tolist() == [one.size for one in expected]
    assert table.size == sum(one.size for one in expected)
    assert table.whole.tolist() == [one.whole for one in expected]
    assert table.offsets.tolist() == [one.source.offset for one in expected]
    assert [table.places[number] for number in table.place.tolist()] == [
        (one.source.shard, one.source.piece) for one in expected
    ]
    for start, one in zip(table.starts.tolist(), expected, strict=True):
        run = one.into.is_run_of(one.extents)
        assert start == (one.into.first_of(one.extents) * one.element_size if run else -1)
    rows = [dice.randrange(len(table)) for _ in table[:5]]
    assert list(table.take(np.array(rows, np.int64))) == [expected[row] for row in rows]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([8, planner.BLOCK_BYTES]))
def test_what_is_whole_is_its_slice_in_the_same_order_whatever_the_views(seed, block):
    """For then it is asked for by its place alone, and held against the checksum of its writer."""
    dice = random.Random(seed)
    manifest, seen = random_manifest(dice)
    wants = random_wants(dice, manifest, seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        table = plan(manifest, wants)
    for one, whole, start in zip(table, table.whole, table.starts.tolist(), strict=True):
        source, want = one.source, wants[one.want]
        tensor = manifest.tensors[source.tensor]
        held = elements(tensor, source.box, source.view)
        moved = held.reshape(source.box.extents)[one.within.slices].reshape(-1)
        asked = elements(tensor, want.box, want.view)
        assert np.array_equal(asked.reshape(one.extents)[one.into.slices].reshape(-1), moved)
        assert whole == np.array_equal(moved, held)
        if start >= 0:
            first = start // one.element_size
            assert np.array_equal(asked[first : first + len(moved)], moved)


def test_slices_are_alike_only_in_the_same_view():
    """The same box of the same shape, but of other elements."""
    views, box = [(2, 4), (4, 2), None, (2, 4)], Box((1, 0), (1, 2))
    shapes = [(8,), (8,), (4, 2), (8,)]
    tensors = [
        TensorSpec(group="model", name=f"t{n}", shape=shape, dtype="U8")
        for n, shape in enumerate(shapes)
    ]
    slices = [
        SliceSpec(
            tensor=n, box=box, shard="s", piece="p", offset=2 * n, size=2, checksum=0, view=view
        )
        for n, view in enumerate(views)
    ]
    manifest = Manifest(
        version=VERSION, tensors=tuple(tensors), slices=SliceTable.of(slices), assets={}
    )
    table = plan(manifest, [Wanted(n, box, view) for n, view in enumerate(views)])
    assert (table.whole.tolist(), table.sources.tolist()) == ([True] * 4, [0, 1, 2, 3])
    layouts = [manifest.slice_index.layout(n) for n in range(4)]
    assert layouts[0] is layouts[3] is not layouts[1]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**63))
def test_each_is_asked_of_the_first_that_has_it_in_the_order_in_which_it_comes(seed):
    dice = random.Random(seed)
    manifest, seen = random_manifest(dice)
    table = plan(manifest, random_wants(dice, manifest, seen)).in_order(runs=manifest.runs)
    away = {f"shard-{number}" for number in range(SHARDS) if dice.random() < 0.4}
    for only in (False, True):
        dealt = by_holder(manifest, table, away=away, only=only)
        expected = {}
        for one in table:
            holders = manifest.holders(one.source.shard, one.source.piece)
            there = [shard for shard in holders if shard not in away]
            last = "" if only else holders[0]
            expected.setdefault(there[0] if there else last, []).append(one)
        assert {shard: list(part) for shard, part in dealt.items()} == expected
        for part in dealt.values():
            request = puller._request(manifest, part)
            assert asked(request) == [(one.source.piece, one.source.offset) for one in part]
            assert len(request.items) == sum(not (manifest.runs and one.whole) for one in part)


def asked(request):
    """Piece and offset of all that is asked for."""
    single = [(item.piece, item.offset) for item in request.items]
    return single + [(run.piece, offset) for run in request.runs for offset in run.offsets]
