"""Slices by columns are the slices that they were made of, also as messages and in parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights import manifest_parts, messages
from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.manifest import SliceSpec
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_from_pb, table_to_pb

GROUPS = ("model", "optimizer")
NUMBERS = st.integers(0, 2**40)
SUMS = st.integers(0, 2**64 - 1)
BOXES = st.integers(0, 4).flatmap(
    lambda axes: st.builds(Box, *[st.tuples(*[NUMBERS] * axes)] * 2),
)
SLICES = st.lists(
    st.builds(
        SliceSpec,
        tensor=st.integers(0, 5),
        box=BOXES,
        shard=st.sampled_from(["shard-0", "shard-1"]),
        piece=st.sampled_from(["a", "b"]),
        offset=NUMBERS,
        size=NUMBERS,
        checksum=SUMS,
        blocks=st.lists(SUMS, max_size=3).map(tuple),
        block_bytes=st.integers(1, 2**30),
        view=st.none() | st.lists(NUMBERS, max_size=16).map(tuple),
    ),
    max_size=12,
)


@given(boxes=st.lists(BOXES, max_size=8), rows=st.lists(st.integers(0, 7)))
def test_boxes_by_columns_are_the_boxes(boxes, rows):
    columns = BoxColumns.of(boxes)
    assert list(columns) == boxes
    assert columns[:2] == boxes[:2]
    rows = [row for row in rows if row < len(boxes)]
    assert list(columns.take(np.array(rows, np.int64))) == [boxes[row] for row in rows]
    for first, one in enumerate(boxes):
        for second, other in enumerate(boxes):
            same_axes = len(one.offsets) == len(other.offsets)
            same_key = columns.key(first) == columns.key(second)
            assert not same_axes or same_key == (one == other)


@given(slices=SLICES, rows=st.lists(st.integers(0, 11)), cuts=st.integers(0, 12))
def test_a_table_is_its_slices(slices, rows, cuts):
    table = SliceTable.of(slices)
    assert table == slices
    assert table[1:] == slices[1:]
    assert table.size == sum(source.size for source in slices)
    rows = [row for row in rows if row < len(slices)]
    assert table.take(np.array(rows, np.int64)) == [slices[row] for row in rows]
    assert SliceTable.join([slices[:cuts], SliceTable.of(slices[cuts:])]) == slices
    sent = pb.SliceTable.FromString(table_to_pb(table).SerializeToString())
    assert table_from_pb(sent) == slices


def test_there_is_no_slice_past_the_last():
    with pytest.raises(IndexError):
        BoxColumns.of([])[0]
    assert SliceTable.of([]) != [1]


@settings(deadline=None)
@given(slices=SLICES, wanted=st.sets(st.sampled_from(GROUPS)), size=st.integers(1, 500))
def test_a_table_that_is_cut_is_joined(slices, wanted, size):
    tensors = [pb.Tensor(group=GROUPS[number % 2], name=f"t{number}") for number in range(6)]
    older = [messages.slice_to_pb(source) for source in slices[:3]]
    whole = pb.Manifest(tensors=tensors, slices=older, tables=[table_to_pb(slices[3:])])
    kept = [source for source in slices if GROUPS[source.tensor % 2] in wanted]
    for tables in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manifest_parts, "PART_BYTES", size)
            parts = list(
                manifest_parts.cut(
                    pb.Version(), whole.SerializeToString(), wanted, {}, tables=tables
                )
            )
        for part in parts[1:]:
            rows = sum(len(table.tensor) for table in part.tables)
            items = rows + len(part.tensors) + len(part.slices)
            assert items == 1 or part.ByteSize() <= size + 8 * items
        found = manifest_parts.join(parts)
        assert tables or not found.tables
        for ours, theirs in zip(messages.slices_from_pb(found), kept, strict=True):
            assert found.tensors[ours.tensor].name == f"t{theirs.tensor}"
            assert (ours.box, ours.view) == (theirs.box, theirs.view)
            assert ours.blocks == theirs.blocks


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": []},
        {"place": [1]},
        {"place": [-1]},
        {"axes": [2]},
        {"axes": [-1]},
        {"block_count": [1]},
        {"box_offsets": []},
        {"view": [1]},
        {"view": [0, 0]},
        {"view": [-1]},
    ],
)
def test_columns_that_do_not_fit_are_refused(wrong):
    source = SliceSpec(
        tensor=0, box=Box((0,), (1,)), shard="s", piece="p", offset=0, size=1, checksum=1
    )
    message = table_to_pb([source])
    for name, values in wrong.items():
        message.ClearField(name)
        getattr(message, name).extend(values)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        table_from_pb(message)
    assert caught.value.reason == "INVALID_TABLE"


@pytest.mark.parametrize("shape", [(-1, -4), (1,) * 17])
def test_a_view_that_is_none_is_refused(shape):
    source = SliceSpec(
        tensor=0,
        box=Box((0,), (1,)),
        shard="s",
        piece="p",
        offset=0,
        size=1,
        checksum=1,
        view=shape,
    )
    for read in (
        lambda: messages.slice_from_pb(messages.slice_to_pb(source)),
        lambda: table_from_pb(table_to_pb([source])),
    ):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            read()
        assert caught.value.reason == "INVALID_VIEW"


def test_slices_of_no_view_are_written_as_they_were_before_there_were_views():
    """Byte for byte: what is on disks and on its way is read, and hashed, as ever."""
    slices = [
        SliceSpec(
            tensor=number,
            box=Box((number, 0), (2, 3)),
            shard="shard-0",
            piece="0-model-1",
            offset=24 * number,
            size=24,
            checksum=2**63 + number,
            blocks=(2**63 + number,),
        )
        for number in range(3)
    ]
    assert table_to_pb(slices).SerializeToString(deterministic=True).hex() == (
        "0a140a0773686172642d301209302d6d6f64656c2d3112030000001a0300010222030202022a060000010002"
        "0032060203020302033a0300183042031818184a180000000000000080010000000000008002000000000000"
        "8052030101015a180000000000000080010000000000008002000000000000806209808040808040808040"
    )
    assert messages.slice_to_pb(slices[1]).SerializeToString(deterministic=True).hex() == (
        "080112080a020100120202031a0773686172642d302209302d6d6f64656c2d31281830183901000000000000"
        "804208010000000000008048808040"
    )


def test_a_reader_who_does_not_know_views_is_refused_what_has_some():
    plain = SliceSpec(
        tensor=0, box=Box((0,), (1,)), shard="s", piece="p", offset=0, size=1, checksum=1
    )
    seen = replace(plain, view=(1,))
    version = pb.Version(set="default/w", number=3)
    for slices, tables in (([seen], []), ([], [table_to_pb([plain, seen])])):
        whole = pb.Manifest(slices=map(messages.slice_to_pb, slices), tables=tables)
        with pytest.raises(errors.FailedPreconditionError, match="default/w@3") as caught:
            list(manifest_parts.cut(version, whole.SerializeToString(), (), {}, views=False))
        assert caught.value.reason == "VIEWS_UNKNOWN"
    whole = pb.Manifest(tables=[table_to_pb([plain])])
    assert list(manifest_parts.cut(version, whole.SerializeToString(), (), {}, views=False))
