"""Many small tensors: by columns and one by one, as older clients and older files have them."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2, manifest_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.parameters.checked_file import write_checked
from tessera.parameters.index_file import INDEX, read_index, write_index
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.push_headers import announced
from tessera.weights import lane, messages
from tessera.weights.box import Box
from tessera.weights.header_messages import header_to_pb, table_of_headers
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push import push

from .conftest import Writer as Base

SIZES = st.lists(
    st.one_of(st.integers(0, 5000), st.integers(1_000_000, 2_500_000)), min_size=1, max_size=40
)


class Writer(Base):
    """Pushes what it is told in one go."""

    def send(self, sizes, *, tables, before=None):
        """Tensors of so many bytes; returns them as they should be read back, and what was told."""
        tensors = [
            TensorSpec(group=("model", "optimizer")[i % 2], name=f"t{i}", shape=(n,), dtype="U8")
            for i, n in enumerate(sizes)
        ]
        random = np.random.default_rng(len(sizes))
        content = [random.integers(0, 256, size, np.uint8) for size in sizes]
        opened = self.client.open_version(self.set, self.epoch, 1, tensors)
        assert opened.tables
        slices = [
            LocalSlice(tensor=i, group=one.group, box=one.box, data=data)
            for i, (one, data) in enumerate(zip(tensors, content, strict=True))
        ]
        report = push(replace(opened, tables=tables), 0, slices, self.token, before=before)
        assert self.client.seal_version(opened) == sum(sizes)
        self.client.commit_version(opened)
        return tensors, content, report

    def receive(self, tensors, *, runs):
        manifest = self.client.get_manifest(self.set)
        assert manifest.runs or not any(one.size for one in tensors)
        out = [np.zeros(one.size, np.uint8) for one in tensors]
        wants = [
            Want(group=one.group, name=one.name, box=one.box, out=data)
            for one, data in zip(tensors, out, strict=True)
        ]
        pull(replace(manifest, runs=runs), wants, self.token)
        return out


@pytest.fixture
def writer(platform, parameters):
    writer = Writer(platform, "many")
    writer.acquire(keep=2)
    yield writer
    writer.client.close()


@pytest.mark.waits
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=SIZES,
    pushed=st.booleans(),
    pulled=st.booleans(),
    least=st.sampled_from([0, lane.LEAST_BYTES, sys.maxsize]),
)
def test_what_is_pushed_by_columns_or_not_is_pulled_by_runs_or_not(  # noqa: PLR0917
    writer, monkeypatch, sizes, pushed, pulled, least
):
    monkeypatch.setattr(lane, "LEAST_BYTES", least)
    tensors, content, report = writer.send(sizes, tables=pushed)
    for own, data in zip(content, writer.receive(tensors, runs=pulled), strict=True):
        assert np.array_equal(own, data)
    # The same again, of which nothing is sent.
    _, _, again = writer.send(sizes, tables=pushed, before=report)
    assert (again.sent, again.digests) == (0, report.digests)
    for own, data in zip(content, writer.receive(tensors, runs=pulled), strict=True):
        assert np.array_equal(own, data)


def test_a_reader_who_does_not_ask_for_tables_gets_slices(writer):
    sizes = [10, 0, 2_000_000, 7]
    writer.send(sizes, tables=True)
    found = []
    for tables in (False, True):
        request = coordinator_pb2.GetManifestRequest(set=writer.set, tables=tables)
        stub = writer.client.stub(again=False)
        (reply,) = stub.GetManifest(request, metadata=writer.client.metadata)
        assert bool(reply.manifest.tables) == tables
        found.append(list(messages.slices_from_pb(reply.manifest)))
    assert found[0] == found[1]
    assert sum(source.size for source in found[0]) == sum(sizes)


@pytest.mark.parametrize("least", [0, lane.LEAST_BYTES])
@pytest.mark.parametrize("number", [0, 123, 299])
def test_a_slice_in_the_middle_of_many_that_is_damaged_is_named(
    writer, tmp_path, monkeypatch, least, number
):
    """Be it read by the reader itself, or sent by the shard."""
    monkeypatch.setattr(lane, "LEAST_BYTES", least)
    tensors, _, _ = writer.send([100] * 300, tables=True)
    manifest = writer.client.get_manifest(writer.set)
    (source,) = (one for one in manifest.slices if one.tensor == number)
    path = tmp_path / source.shard / writer.set / "1" / f"{source.piece}.bin"
    content = bytearray(path.read_bytes())
    content[source.offset + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.DataLossError) as caught:
        writer.receive(tensors, runs=True)
    assert caught.value.reason == "CHECKSUM_MISMATCH"
    assert caught.value.metadata["tensor"] == str(number)
    assert caught.value.metadata["shard"] == source.shard


def sources(count):
    return [
        SliceSpec(
            tensor=number,
            box=Box((0,), (number + 1,)),
            shard="shard-0",
            piece="0-model-1",
            offset=number,
            size=number + 1,
            checksum=2**64 - 1 - number,
            blocks=(2**64 - 1 - number,),
        )
        for number in range(count)
    ]


def test_an_index_that_lists_slices_one_by_one_is_read(tmp_path):
    vault, contents = LocalVault(tmp_path), {("0-model-1", "model"): sources(3)}
    write_index(vault, "0.index", contents)
    older = manifest_pb2.Manifest(
        tensors=[manifest_pb2.Tensor(name="0-model-1", group="model")],
        slices=[messages.slice_to_pb(source) for source in sources(3)],
    )
    write_checked(vault, "1.index", INDEX, older.SerializeToString())
    assert read_index(vault, "0.index") == read_index(vault, "1.index") == contents


def items(views=(None, None)):
    data = np.zeros(4, np.uint8)
    return [
        LocalSlice(tensor=0, group="model", box=Box((), ()), data=data[:1], view=views[0]),
        LocalSlice(tensor=1, group="state", box=Box((0, 3), (2, 2)), data=data, view=views[1]),
    ]


@pytest.mark.parametrize("views", [(None, None), ((), (2, 5)), (None, (4, 5))])
def test_headers_by_columns_are_the_headers(views):
    sums = [5, 2**64 - 1]
    table = pb.SliceHeaders(table=table_of_headers(items(views), sums))
    single = pb.SliceHeaders(headers=map(header_to_pb, items(views), sums))
    assert list(announced(table)) == list(announced(single))
    assert [header.view for header in announced(table)] == list(views)
    assert list(announced(pb.SliceHeaders(table=pb.HeaderTable()))) == []


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ((2, 4), "BOX_OUT_OF_TENSOR"),
        ((2, 5, 1), "BOX_OUT_OF_TENSOR"),
        ((-2, -5), "INVALID_VIEW"),
        ((2, 5, *[1] * 15), "INVALID_VIEW"),
    ],
)
def test_a_box_that_does_not_lie_in_its_view_is_refused(view, reason):
    wrong = items((None, view))
    for headers in (
        pb.SliceHeaders(table=table_of_headers(wrong, [1, 2])),
        pb.SliceHeaders(headers=map(header_to_pb, wrong, [1, 2])),
    ):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            list(announced(headers))
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"size": [1]}, "BAD_HEADER"),
        ({"size": [1, 0]}, "BAD_HEADER"),
        ({"tensor": [-1, 0]}, "BAD_HEADER"),
        ({"checksum": []}, "BAD_HEADER"),
        ({"group": [0, 2]}, "BAD_HEADER"),
        ({"group": [-1, 0]}, "BAD_HEADER"),
        ({"groups": ["model", "../a"]}, "BAD_HEADER"),
        ({"axes": [-2, 4]}, "BAD_HEADER"),
        ({"axes": [0, 3]}, "BAD_HEADER"),
        ({"axes": [2**31 - 1, 2**31 - 1]}, "BAD_HEADER"),
        ({"view": [0]}, "BAD_HEADER"),
        ({"view": [0, 1]}, "BAD_HEADER"),
        ({"view": [0, -1]}, "BAD_HEADER"),
        ({"box_offsets": [0, -1]}, "INVALID_BOX"),
        ({"box_extents": [-1, 0]}, "INVALID_BOX"),
    ],
)
def test_columns_of_headers_that_do_not_fit_are_refused(wrong, reason):
    table = table_of_headers(items(), [1, 2])
    for name, values in wrong.items():
        table.ClearField(name)
        getattr(table, name).extend(values)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        list(announced(pb.SliceHeaders(table=table)))
    assert caught.value.reason == reason
