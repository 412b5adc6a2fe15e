"""Ranks of tensor parallelism push their heads of a fused projection as one slice each."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from versions import own

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2
from tessera.rpc.channel import mapped_errors
from tessera.weights import holding, lane, local_slice, messages, push
from tessera.weights import pull as puller
from tessera.weights.box import Box
from tessera.weights.handed_piece import HandedPiece
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push_digest import sum_of

from .conftest import Writer as Base

pytestmark = pytest.mark.waits

HEADS, WIDTH, RANKS = 8, 6, 2
VIEW = (3, HEADS, WIDTH)


def part(box, view, element_size=4):
    """A slice of zeros of the first tensor."""
    data = np.zeros(box.elements * element_size, np.uint8)
    return LocalSlice(tensor=0, group="model", box=box, data=data, view=view)


class Writer(Base):
    """A fused projection and its bias, cut by heads, and an adapter that changes."""

    tensors = (
        TensorSpec(group="model", name="qkv", shape=(3 * HEADS, WIDTH), dtype="F32"),
        TensorSpec(group="model", name="bias", shape=(3 * HEADS,), dtype="BF16"),
        TensorSpec(group="model", name="adapter", shape=(7, 4), dtype="F32"),
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.before = {}
        self.views = {"qkv": VIEW, "bias": VIEW[:2]}

    def content(self, seed):
        return {
            tensor: np.random.default_rng(
                [seed if tensor.name == "adapter" else 0, int.from_bytes(tensor.name.encode())]
            ).integers(0, 256, tensor.size, np.uint8)
            for tensor in self.tensors
        }

    def give(self, seed):
        """An open version that all ranks have pushed to; returns it, and the bytes sent."""
        content = self.content(seed)
        opened = self.client.open_version(self.set, self.epoch, seed, list(content))
        reports = {
            rank: push.push(
                opened, rank, self.slices(content, rank), self.token, before=self.before.get(rank)
            )
            for rank in range(self.ranks)
        }
        self.before = reports
        return opened, reports.values()

    def publish(self, seed):
        """Returns the bytes sent."""
        opened, reports = self.give(seed)
        self.client.seal_version(opened, sum_of(report.digest for report in reports))
        self.client.commit_version(opened)
        return sum(report.sent for report in reports)

    def take_all(self, boxes, views=None):
        """Whether boxes of tensors, by their names, are read at once as they should be."""
        views = views or {}
        content = {one.name: data for one, data in self.content(1).items()}
        expected = [
            content[one.name].reshape(*views.get(one.name, one.shape), one.element_size)[
                boxes[one.name].slices
            ]
            for one in self.tensors
        ]
        wants = [
            Want(
                group="model",
                name=name,
                box=box,
                out=np.zeros(data.size, np.uint8),
                view=views.get(name),
            )
            for (name, box), data in zip(boxes.items(), expected, strict=True)
        ]
        pull(self.client.get_manifest(self.set), wants, self.token)
        return all(
            want.out.tobytes() == data.tobytes() for want, data in zip(wants, expected, strict=True)
        )

    def take(self, box, view=None, name="qkv", version=0):
        """A box as it is read, and as it should be."""
        manifest = self.client.get_manifest(self.set, version)
        tensor = next(one for one in self.tensors if one.name == name)
        out = np.zeros(box.elements * tensor.element_size, np.uint8)
        want = Want(group="model", name=name, box=box, out=out, view=view)
        report = pull(manifest, [want], self.token)
        assert report.size == out.size, "no byte more than what is wanted"
        whole = self.content(manifest.version.step)[tensor]
        seen = whole.reshape(*(view or tensor.shape), tensor.element_size)
        return out.tobytes(), seen[box.slices].tobytes()


@pytest.fixture
def writer(platform, parameters):
    writer = Writer(platform, "fused")
    writer.acquire(keep=5)
    yield writer
    writer.client.close()


def kept(writer, name="qkv"):
    """View and box of each slice of a tensor, as the manifest has them."""
    manifest = writer.client.get_manifest(writer.set)
    return sorted(
        ((one.view or (), one.box.offsets, one.box.extents) for one in manifest.slices
         if manifest.tensors[one.tensor].name == name),
    )  # fmt: skip


OWN = [own(rank, RANKS, VIEW) for rank in range(RANKS)]
ONE_EACH = [(VIEW, box.offsets, box.extents) for box in OWN]


def test_one_slice_of_each_rank_is_read_in_every_layout(writer):
    assert writer.publish(1) == sum(tensor.size for tensor in writer.tensors)
    assert kept(writer) == ONE_EACH
    assert writer.check() == 1
    for rows in (Box((0, 0), (5, WIDTH)), Box((7, 1), (11, 3)), Box((23, 0), (1, WIDTH))):
        found, expected = writer.take(rows)
        assert found == expected
    for ranks in (1, 2, 4, 8):
        for rank in range(ranks):
            found, expected = writer.take(own(rank, ranks, VIEW), VIEW)
            assert found == expected
    found, expected = writer.take(Box((5,), (14,)), name="bias")
    assert found == expected
    found, expected = writer.take(Box((1, 0, 3), (2, HEADS, 2)), (3, HEADS, WIDTH))
    assert found == expected


def test_a_large_slice_lies_on_several_shards_and_stays_one_of_its_view(writer, monkeypatch):
    monkeypatch.setattr(local_slice, "SPLIT_BYTES", 64)
    monkeypatch.setattr("tessera.weights.placement.SPLIT_BYTES", 64)
    writer.publish(1)
    found = kept(writer)
    assert len(found) > len(ONE_EACH)
    assert {view for view, _, _ in found} == {VIEW}
    assert writer.check() == 1
    found, expected = writer.take(OWN[1], VIEW)
    assert found == expected


@pytest.mark.parametrize("by", ["lane", "stream"])
def test_rows_that_lie_apart_are_put_in_between_each_other(writer, monkeypatch, by):
    """Gates and values row by row: a rank has every other one, a reader asks for the matrix."""
    if by == "stream":
        monkeypatch.setattr(lane, "LEAST_BYTES", 1 << 40)
    writer.tensors = (TensorSpec(group="model", name="qkv", shape=(2 * 4096, 64), dtype="F32"),)
    writer.views = {"qkv": (4096, 2, 64)}
    writer.publish(1)
    assert writer.check() == 1
    for rows in (Box((2, 0), (4000, 64)), Box((3, 5), (4001, 50))):
        found, expected = writer.take(rows)
        assert found == expected


@pytest.mark.parametrize("by", ["lane", "stream"])
def test_many_small_ones_are_asked_for_at_once(writer, monkeypatch, by):
    """Whole slices by their places alone, in whatever shape they are asked for."""
    monkeypatch.setattr(lane, "LEAST_BYTES", 0 if by == "lane" else 1 << 40)
    writer.tensors = tuple(
        TensorSpec(group="model", name=f"t{n}", shape=(3 * HEADS, 1 + n % 3), dtype="F32")
        for n in range(60)
    )
    seen = writer.views = {one.name: (3, HEADS, one.shape[1]) for one in writer.tensors}
    writer.publish(1)
    asked, together = [], []
    request, read = puller._request, HandedPiece.read_together
    monkeypatch.setattr(puller, "_request", lambda *a: asked.append(request(*a)) or asked[-1])
    monkeypatch.setattr(HandedPiece, "read_together", lambda *a: together.extend(a[2]) or read(*a))
    assert writer.take_all({name: own(1, RANKS, view) for name, view in seen.items()}, seen)
    assert writer.take_all({one.name: one.box for one in writer.tensors})
    if by == "lane":
        # In the tensor itself what a rank has lies apart: those are copied one by one.
        assert (len(together), asked) == (len(writer.tensors), [])
    else:
        assert not any(each.items for each in asked)
        places = sum(len(run.offsets) for each in asked for run in each.runs)
        assert places == (1 + RANKS) * len(writer.tensors)


def test_nodes_that_start_again_know_the_views(writer, platform, tmp_path):
    writer.publish(1)
    platform.stop_parameters()
    platform.start_parameters(tmp_path)
    assert kept(writer) == ONE_EACH
    assert writer.check() == 1


def test_a_coordinator_that_lost_its_folder_knows_them_again(writer, platform, tmp_path):
    writer.publish(1)
    platform.stop_parameters()
    shutil.rmtree(tmp_path / "coordinator")
    platform.start_parameters(tmp_path)
    assert kept(writer) == ONE_EACH
    assert not writer.client.get_manifest(writer.set).version.damaged_groups
    assert writer.check() == 1
    found, expected = writer.take(OWN[0], VIEW)
    assert found == expected


def test_what_is_the_same_is_not_sent_again(writer):
    writer.publish(1)
    changed = writer.tensors[2].size
    for seed in (2, 3):
        assert writer.publish(seed) == changed
        assert kept(writer) == ONE_EACH
        assert writer.check() == seed
    # The same bytes of the same box, but of another view, are another slice.
    del writer.views["qkv"]
    assert writer.publish(4) == changed + writer.tensors[0].size
    assert writer.check() == 4
    writer.views["qkv"] = VIEW
    assert writer.publish(5) == changed + writer.tensors[0].size
    assert (kept(writer), writer.check()) == (ONE_EACH, 5)


def test_the_same_box_and_bytes_of_another_view_are_not_taken_over(writer):
    tensor = TensorSpec(group="model", name="w", shape=(32,), dtype="U8")
    left, right, below = Box((0, 0), (4, 4)), Box((0, 4), (4, 4)), Box((4, 0), (4, 4))
    before = None
    for view, boxes, sent in (
        ((4, 8), (left, right), 32),
        ((4, 8), (left, right), 0),
        ((8, 4), (left, below), 32),
    ):
        opened = writer.client.open_version(writer.set, writer.epoch, 1, [tensor])
        held = [part(box, view, 1) for box in boxes]
        before = push.push(opened, 0, held, writer.token, before=before)
        writer.client.seal_version(opened)
        writer.client.commit_version(opened)
        assert before.sent == sent


def test_the_same_may_be_pushed_after_the_seal_and_nothing_of_another_view(writer):
    opened, _ = writer.give(1)
    writer.client.seal_version(opened)
    content = writer.content(1)
    for rank in range(writer.ranks):
        push.push(opened, rank, writer.slices(content, rank), writer.token)
    # With an axis more it is the same block, and another slice all the same.
    other = [
        replace(item, box=Box((0, *item.box.offsets), (1, *item.box.extents)), view=(1, *item.view))
        if item.view == VIEW
        else item
        for item in writer.slices(content, 0)
    ]
    with pytest.raises(errors.FailedPreconditionError) as caught:
        push.push(opened, 0, other, writer.token)
    assert caught.value.reason == "VERSION_CLOSED"
    writer.client.commit_version(opened)
    assert writer.check() == 1


@pytest.mark.parametrize(
    ("cuts", "reason"),
    [
        ([(OWN[0], VIEW)], "INCOMPLETE"),
        ([(OWN[0], VIEW), (OWN[1], VIEW), (Box((0, 0), (1, 1)), None)], "OVERLAP"),
        (
            [(Box((0, 0, 0), (1, 12, WIDTH)), (2, 12, WIDTH)), (Box((2, 0, 0), (1, 8, 6)), VIEW)],
            "VIEW_MISMATCH",
        ),
    ],
)
def test_what_does_not_make_it_up_is_not_sealed(writer, cuts, reason):
    tensor = writer.tensors[0]
    opened = writer.client.open_version(writer.set, writer.epoch, 1, [tensor])
    for rank, (box, view) in enumerate(cuts):
        push.push(opened, rank, [part(box, view)], writer.token)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(opened)
    assert (caught.value.reason, caught.value.metadata["tensor"]) == (reason, "qkv")
    # The set is as good as before.
    writer.publish(2)
    assert writer.check() == 2


@pytest.mark.parametrize(
    ("box", "view", "reason", "pushed"),
    [
        (Box((0, 0), (5, 5)), (5, 5), "VIEW_MISMATCH", True),
        (Box((0, 0), (36, 4)), (36, 4), "VIEW_MISMATCH", True),
        (Box((0, 0, 0), (3, 9, 6)), VIEW, "BOX_OUT_OF_TENSOR", False),
        (Box((0,) * 17, (1,) * 17), (1,) * 17, "INVALID_VIEW", False),
    ],
)
def test_a_writer_who_checks_nothing_is_refused(  # noqa: PLR0917 - what is wrong, and where
    writer, monkeypatch, box, view, reason, pushed
):
    monkeypatch.setattr(local_slice, "_checked", lambda _, item: item)
    opened = writer.client.open_version(writer.set, writer.epoch, 1, [writer.tensors[0]])
    told = []
    with pytest.raises(errors.TesseraError) as caught:
        told.append(push.push(opened, 0, [part(box, view)], writer.token))
        writer.client.seal_version(opened)
    assert (caught.value.reason, bool(told)) == (reason, pushed)


def test_a_platform_that_does_not_know_views_is_not_sent_any(writer):
    content = writer.content(1)
    opened = writer.client.open_version(writer.set, writer.epoch, 1, list(content))
    assert opened.views
    with pytest.raises(errors.FailedPreconditionError) as caught:
        push.push(replace(opened, views=False), 0, writer.slices(content, 0), writer.token)
    assert caught.value.reason == "VIEWS_UNKNOWN"


def test_a_reader_that_does_not_know_views_is_told_so(writer):
    writer.publish(1)
    request = coordinator_pb2.GetManifestRequest(set=writer.set, tables=True)
    stub = writer.client.stub(again=False)
    with pytest.raises(errors.FailedPreconditionError) as caught, mapped_errors():
        list(stub.GetManifest(request, metadata=writer.client.metadata))
    assert caught.value.reason == "VIEWS_UNKNOWN"
    request.views, request.tables = True, False
    (reply,) = stub.GetManifest(request, metadata=writer.client.metadata)
    found = messages.manifest_from_pb(reply.manifest)
    assert sum(one.view is not None for one in found.slices) == 2 * RANKS


class TestCopies:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch):
        """No test knows what was away in another one."""
        monkeypatch.setattr(holding.AWAY, "_until", {})

    @pytest.fixture
    def parameters(self, platform, tmp_path):
        running = platform.start_parameters(tmp_path, shards=3, replicas=2, lost_seconds=3.0)
        yield running
        platform.stop_parameters()

    def test_each_shard_may_be_away(self, writer, parameters):
        writer.publish(1)
        writer.publish(2)
        for index in range(3):
            parameters.stop_shard(index)
            assert writer.check() == 2
            found, expected = writer.take(OWN[1], VIEW)
            assert found == expected
            parameters.start_shard(index)

    def test_a_coordinator_that_lost_its_folder_knows_the_copies(self, writer, platform, tmp_path):
        writer.publish(1)
        platform.stop_parameters()
        shutil.rmtree(tmp_path / "coordinator")
        shutil.rmtree(tmp_path / "shard-1")
        platform.start_parameters(tmp_path, shards=3, replicas=2, lost_seconds=3.0)
        assert kept(writer) == ONE_EACH
        assert writer.check() == 1
