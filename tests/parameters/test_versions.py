"""Open, push, seal, commit and read against real servers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tessera import errors
from tessera.rpc.principal import Role
from tessera.weights.box import Box
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec, VersionState
from tessera.weights.pull import Want, pull
from tessera.weights.push import push


def test_a_committed_version_is_read_back_byte_for_byte(writer):
    version = writer.publish(1)
    assert version.number == 1
    assert version.state is VersionState.COMMITTED
    assert version.job == "j1"
    assert version.step == 1
    assert version.labels["seed"] == "1"
    assert set(version.groups) == {"model", "optimizer", "state"}
    assert version.size == sum(t.size for t in writer.tensors)
    assert writer.check() == 1
    manifest = writer.client.get_manifest(writer.set)
    assert manifest.assets == {"config.json": b"seed 1"}
    assert {s.shard for s in manifest.slices} == {"shard-0", "shard-1"}


def test_a_reader_takes_only_the_groups_and_boxes_that_it_wants(writer):
    writer.publish(3)
    manifest = writer.client.get_manifest(writer.set, groups=["model"])
    assert [t.name for t in manifest.tensors] == ["embed", "bias", "scale"]
    full = writer.content(3)[writer.tensors[0]].reshape(301, 64, 4)
    box = Box((149, 10), (5, 17))
    out = np.zeros(5 * 17 * 4, np.uint8)
    report = pull(manifest, [Want(group="model", name="embed", box=box, out=out)], writer.token)
    assert out.tobytes() == full[149:154, 10:27].tobytes()
    assert report.size == out.size


def test_a_reader_takes_what_is_a_box_of_the_reshaped_tensor_only(writer):
    writer.publish(3)
    manifest = writer.client.get_manifest(writer.set, groups=["model"])
    view = (43, 7, 64)
    seen = writer.content(3)[writer.tensors[0]].reshape(*view, 4)
    box = Box((3, 2, 8), (30, 3, 20))
    out = np.zeros(30 * 3 * 20 * 4, np.uint8)
    want = Want(group="model", name="embed", box=box, out=out, view=view)
    report = pull(manifest, [want], writer.token)
    assert out.tobytes() == seen[3:33, 2:5, 8:28].tobytes()
    assert report.size == out.size


def test_numbers_only_grow_and_nothing_is_visible_before_the_commit(writer):
    writer.acquire()
    first = writer.open(1)
    with pytest.raises(errors.NotFoundError) as caught:
        writer.read()
    assert caught.value.reason == "VERSION_NOT_FOUND"
    writer.client.abort_version(first)
    second = writer.open(2)
    writer.push(second, writer.content(2))
    writer.client.seal_version(second)
    with pytest.raises(errors.NotFoundError):
        writer.read(second.number)
    writer.client.commit_version(second)
    assert (first.number, second.number) == (1, 2)
    assert writer.client.commit_version(second).number == 2
    assert [v.number for v in writer.client.list_versions(writer.set)] == [2]


def test_a_missing_slice_is_named_and_can_be_pushed_again(writer):
    writer.acquire()
    opened = writer.open(1)
    writer.push(opened, writer.content(1), ranks=[0])
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(opened)
    assert caught.value.reason == "INCOMPLETE"
    assert caught.value.metadata["tensor"] == "embed"
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.commit_version(opened)
    assert caught.value.reason == "NOT_SEALED"
    # All ranks push again: what is sealed already is only compared.
    writer.push(opened, writer.content(1))
    writer.client.seal_version(opened)
    writer.client.commit_version(opened)
    assert writer.check() == 1


def test_overlapping_slices_are_refused(writer):
    writer.acquire()
    opened = writer.open(1)
    writer.push(opened, writer.content(1))
    extra = writer.slices(writer.content(1), 0)[0]
    push(opened, 7, [extra], writer.token)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(opened)
    assert caught.value.reason == "OVERLAP"
    assert caught.value.metadata["tensor"] == "embed"


def test_a_second_push_of_a_rank_replaces_the_first(writer):
    writer.acquire()
    opened = writer.open(5)
    writer.push(opened, writer.content(4))
    writer.push(opened, writer.content(5))
    writer.client.seal_version(opened)
    writer.client.commit_version(opened)
    assert writer.check() == 5


def test_what_another_put_in_the_place_of_a_ranks_slices_is_not_sealed(writer):
    writer.acquire()
    opened = writer.open(5)
    digest = writer.push(opened, writer.content(5))
    writer.push(opened, writer.content(4), ranks=[1])
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(opened, digest)
    assert caught.value.reason == "DIGEST_MISMATCH"
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.commit_version(opened)
    assert caught.value.reason == "NOT_SEALED"
    writer.publish(6)
    assert writer.check() == 6


def test_what_another_rank_adds_is_not_sealed(writer):
    writer.acquire()
    opened = writer.open(1)
    digest = writer.push(opened, writer.content(1), ranks=[0])
    writer.push(opened, writer.content(1), ranks=[1])
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(opened, digest)
    assert caught.value.reason == "DIGEST_MISMATCH"


def test_other_slices_are_refused_once_a_version_is_sealed(writer):
    version = writer.publish(1)
    opened = writer.open(2)
    writer.push(opened, writer.content(2))
    writer.client.seal_version(opened)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.push(opened, writer.content(3))
    assert caught.value.reason == "VERSION_CLOSED"
    writer.push(opened, writer.content(2))
    writer.client.commit_version(opened)
    assert writer.check(version.number) == 1
    assert writer.check() == 2


def test_an_earlier_epoch_is_fenced_at_every_step(writer, another):
    writer.acquire()
    opened = writer.open(1)
    writer.push(opened, writer.content(1))
    late = another(job="j1", attempt=2)
    late.acquire()
    assert late.epoch > writer.epoch
    for call in (
        lambda: writer.client.seal_version(opened),
        lambda: writer.client.commit_version(opened),
        lambda: writer.client.abort_version(opened),
        lambda: writer.open(2),
        lambda: writer.client.acquire_writer(writer.set, "j1", 1),
    ):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            call()
        assert caught.value.reason == "FENCED"
    newer = late.open(3)
    late.push(newer, late.content(3))
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.push(opened, writer.content(1))
    assert caught.value.reason == "FENCED"
    late.client.seal_version(newer)
    assert late.client.commit_version(newer).number > opened.number


def test_another_job_may_take_a_set_over_and_each_resumes_from_its_own(writer, another):
    writer.publish(1)
    other = another(job="j2")
    assert other.acquire().resume is None
    other.publish(2)
    assert another(job="j1", attempt=2).acquire().resume.number == 1
    with pytest.raises(errors.FailedPreconditionError):
        writer.publish(3)
    assert another(job="j2", attempt=1).acquire().resume.number == 2


def test_opening_gives_an_open_version_up(writer):
    writer.acquire()
    first = writer.open(1)
    writer.push(first, writer.content(1))
    second = writer.open(2)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.seal_version(first)
    assert caught.value.reason == "VERSION_ABORTED"
    writer.push(second, writer.content(2))
    writer.client.seal_version(second)
    assert writer.client.commit_version(second).number == 2


def test_a_watcher_sees_the_head_at_once_and_every_commit(writer, reader):
    writer.publish(1)
    watch = reader.watch_set(writer.set)
    seen = []
    arrived = threading.Event()

    def follow():
        for version in watch:
            seen.append(version.number)
            arrived.set()

    thread = threading.Thread(target=follow)
    thread.start()
    for seed in (2, 3):
        assert arrived.wait(10)
        arrived.clear()
        writer.publish(seed)
    assert arrived.wait(10)
    watch.close()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == [1, 2, 3]


def test_the_oldest_go_but_pinned_ones_stay(writer):
    writer.acquire(keep=2)
    for seed in (1, 2):
        writer.publish(seed)
    writer.client.pin_version(writer.set, 1, "reader", 60)
    writer.publish(3)
    assert [v.number for v in writer.client.list_versions(writer.set)] == [3, 2, 1]
    writer.client.release_pin(writer.set, 1, "reader")
    writer.publish(4)
    assert [v.number for v in writer.client.list_versions(writer.set)] == [4, 3]
    with pytest.raises(errors.NotFoundError) as caught:
        writer.read(1)
    assert caught.value.reason == "VERSION_DROPPED"
    with pytest.raises(errors.NotFoundError) as caught:
        writer.client.pin_version(writer.set, 1, "reader", 60)
    assert caught.value.reason == "VERSION_DROPPED"


def test_what_was_dropped_cannot_be_sealed_again(writer):
    writer.acquire(keep=1)
    first = writer.open(1)
    writer.push(first, writer.content(1))
    writer.client.seal_version(first)
    writer.client.commit_version(first)
    writer.publish(2)
    with pytest.raises(errors.NotFoundError) as caught:
        writer.client.seal_version(first)
    assert caught.value.reason == "VERSION_DROPPED"


def test_shards_forget_what_is_dropped(writer, tmp_path):
    writer.acquire(keep=1)
    for seed in (1, 2, 3):
        writer.publish(seed)
    aborted = writer.open(4)
    writer.push(aborted, writer.content(4))
    writer.client.abort_version(aborted)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        folders = {p.name for p in tmp_path.glob(f"shard-*/{writer.set}/[0-9]*")}
        if folders == {"3"}:
            break
        time.sleep(0.05)
    assert folders == {"3"}


@pytest.mark.parametrize(
    ("version", "groups", "least", "reason"),
    [
        (9, (), 0, "VERSION_NOT_FOUND"),
        (0, ("nothing",), 0, "GROUP_NOT_FOUND"),
        (0, (), 2, "TOO_OLD"),
    ],
)
def test_what_is_not_there_has_a_reason(writer, version, groups, least, reason):
    writer.publish(1)
    with pytest.raises(errors.TesseraError) as caught:
        writer.client.get_manifest(writer.set, version, groups, least)
    assert caught.value.reason == reason


def test_an_unknown_set_has_a_reason(parameters, reader):
    for call in (reader.get_manifest, reader.list_versions):
        with pytest.raises(errors.NotFoundError) as caught:
            call("default/nothing")
        assert caught.value.reason == "SET_NOT_FOUND"
    with pytest.raises(errors.NotFoundError) as caught:
        next(reader.watch_set("default/nothing"))
    assert caught.value.reason == "SET_NOT_FOUND"


def test_sets_are_listed_with_their_heads(writer, another, reader):
    writer.publish(1)
    another("empty").acquire()
    found = {entry.name: entry for entry in reader.list_sets()}
    assert found["default/empty"].head is None
    assert found[writer.set].head.number == 1
    assert found[writer.set].versions == 1
    assert found[writer.set].size == sum(t.size for t in writer.tensors)


def test_malformed_tensors_are_refused_with_their_field(writer):
    writer.acquire()
    good = writer.tensors[0]
    for change, field in (
        ({"dtype": "F31"}, "tensors[1].dtype"),
        ({"shape": (-1,)}, "tensors[1].shape"),
        ({"group": "A/B"}, "tensors[1].group"),
        ({}, "tensors[1].name"),
    ):
        wrong = {"group": good.group, "name": good.name, "shape": (1,), "dtype": "F32", **change}
        with pytest.raises(errors.InvalidArgumentError) as caught:
            writer.client.open_version(
                writer.set, writer.epoch, 1, [good, type(good)(**wrong)], {}, {}
            )
        assert field in {violation.field for violation in caught.value.violations}


def test_a_slice_that_does_not_fit_its_tensor_is_refused_before_it_is_sent(writer):
    writer.acquire()
    opened = writer.open(1)
    data = np.zeros(64 * 4, np.uint8)
    for box, size in ((Box((301, 0), (1, 64)), 256), (Box((0, 0), (1, 64)), 255)):
        part = LocalSlice(tensor=0, group="model", box=box, data=data[:size])
        with pytest.raises(errors.InvalidArgumentError) as caught:
            push(opened, 0, [part], writer.token)
        assert caught.value.reason == "BAD_SLICE"


def test_another_tenant_and_another_attempt_are_kept_out(writer, platform, another):
    writer.publish(1)
    stranger = another(job="j1", attempt=1)
    stranger.client = type(writer.client)(
        platform.address, platform.issue(subject="eve", role=Role.ADMIN, tenant="other"), patience=1
    )
    with pytest.raises(errors.PermissionDeniedError):
        stranger.client.get_manifest(writer.set)
    assert stranger.client.list_sets() == []
    with pytest.raises(errors.PermissionDeniedError) as caught:
        writer.client.acquire_writer(writer.set, "j9", 1)
    assert caught.value.reason == "OTHER_ATTEMPT"
    stranger.client.close()


def test_a_pin_lasts_an_hour_at_most(writer):
    writer.publish(1)
    for ttl in (0.0, 3601.0):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            writer.client.pin_version(writer.set, 1, "reader", ttl)
        assert caught.value.violations[0].field == "ttl"


@pytest.mark.waits
def test_a_manifest_may_be_larger_than_any_message(platform, parameters, another):
    """3,000 tensors beside assets of nearly 64 MiB, which is what a message may have."""
    writer = another("vast")
    writer.acquire()
    tensors = [TensorSpec(group="model", name=f"t{n}", shape=(4,), dtype="U8") for n in range(3000)]
    content = {tensor: np.full(4, index % 251, np.uint8) for index, tensor in enumerate(tensors)}
    assets = {name: bytes([number]) * (31 << 20) for number, name in enumerate("ab")}
    assets["empty"] = b""
    version = writer.commit(content, assets)
    manifest = writer.client.get_manifest(writer.set)
    assert manifest.version.number == version.number
    assert manifest.assets == assets
    assert (len(manifest.tensors), len(manifest.slices)) == (3000, 6000)
    _, found = writer.read()
    assert all(found[tensor.name] == data.tobytes() for tensor, data in content.items())
