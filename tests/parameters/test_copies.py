"""Versions of which every piece lies on two shards: no reader sees what one disk does."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import versions
from vanishing import found

from tessera import errors
from tessera.parameters.store import Store
from tessera.weights import holding, lane
from tessera.weights.pull import Want, pull

pytestmark = pytest.mark.waits

SHARDS = 3
FAIL_OVER_SECONDS = 2.0


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No test knows what was away in another one."""
    monkeypatch.setattr(holding.AWAY, "_until", {})


@pytest.fixture
def parameters(platform, tmp_path):
    running = platform.start_parameters(tmp_path, shards=SHARDS, replicas=2, lost_seconds=3.0)
    yield running
    platform.stop_parameters()


@pytest.fixture
def mend(parameters):
    """Has the coordinator hear what is damaged, and make what is missing."""

    def now():
        versions = parameters.nodes[-1]._versions
        parameters._run(versions._reconciler.hear())
        parameters._run(versions.copies.mend())

    return now


def holders(writer, version=0):
    """The shards of every piece."""
    manifest = writer.client.get_manifest(writer.set, version)
    return {one.piece: set(manifest.holders(one.shard, one.piece)) for one in manifest.slices}


def files(folder: Path, shard: str, pattern="*/*/*/*"):
    return sorted(path for path in (folder / shard).glob(pattern) if path.is_file())


def flip(path: Path, chance):
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    # In place, as a disk does it: whoever shares the file has it, too.
    with path.open("r+b") as file:
        file.write(data)


@pytest.fixture
def damage_of(reader):
    """What the shards find when they read all of a version."""

    def found(writer, version=0):
        *_, last = reader.verify_version(writer.set, version)
        return list(last.damage)

    return found


def test_every_piece_lies_on_two_shards(writer, tmp_path):
    writer.publish(1)
    found = holders(writer)
    assert found
    assert all(len(shards) == 2 for shards in found.values())
    for piece, shards in found.items():
        bytes_ = {(tmp_path / s / writer.set / "1" / f"{piece}.bin").read_bytes() for s in shards}
        assert len(bytes_) == 1


@pytest.mark.parametrize("index", range(SHARDS))
def test_a_shard_that_is_away_is_not_waited_for(writer, parameters, index):
    writer.publish(1)
    manifest = writer.client.get_manifest(writer.set)
    parameters.stop_shard(index)
    begin = time.monotonic()
    assert writer.check() == 1
    assert time.monotonic() - begin < FAIL_OVER_SECONDS
    # A reader that has planned before asks where the shard was.
    assert any(
        f"shard-{index}" in manifest.holders(one.shard, one.piece) for one in manifest.slices
    )
    parameters.start_shard(index)
    assert writer.check() == 1


@pytest.mark.parametrize("least", [0, lane.LEAST_BYTES])
def test_many_small_slices_of_which_a_disk_damages_one_are_read_from_another(
    writer, tmp_path, monkeypatch, least
):
    """Be they read by the reader itself, or sent by the shards."""
    monkeypatch.setattr(lane, "LEAST_BYTES", least)
    dice = np.random.default_rng(5)
    arrays = {f"t{i}": dice.standard_normal((4, 8), np.float32) for i in range(400)}
    writer.commit(versions.content(arrays), {})
    manifest = writer.client.get_manifest(writer.set)
    source = manifest.slices[len(manifest.slices) // 2]
    path = tmp_path / source.shard / writer.set / "1" / f"{source.piece}.bin"
    content = bytearray(path.read_bytes())
    content[source.offset] ^= 1
    path.write_bytes(content)
    outs = {name: np.zeros(4 * 8 * 4, np.uint8) for name in arrays}
    wants = [
        Want(group="model", name=one.name, box=one.box, out=outs[one.name])
        for one in manifest.tensors
    ]
    report = pull(manifest, wants, writer.token)
    assert {name: out.tobytes() for name, out in outs.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    # Nothing is counted twice, and nothing as come from where it was given up.
    assert report.size == sum(array.nbytes for array in arrays.values())
    assert source.shard not in report.shards


def test_of_two_that_are_away_the_last_one_is_waited_for(writer, parameters):
    writer.publish(1)
    parameters.stop_shard(0)
    parameters.stop_shard(1)
    with pytest.raises(errors.UnavailableError):
        writer.read(patience=0.5)


@pytest.mark.parametrize("pattern", ["*.bin", "*.index", "manifest", "*"])
@pytest.mark.parametrize("how", ["flip", "cut", "delete"])
def test_what_one_disk_damages_is_read_from_another_and_made_again(  # noqa: PLR0917
    writer, parameters, mend, damage_of, tmp_path, pattern, how
):
    for seed in (1, 2):
        writer.publish(seed)
    chance = random.Random(f"{pattern} {how}")
    parameters.stop_shard(0)
    for path in files(tmp_path, "shard-0", f"*/*/*/{pattern}"):
        match how:
            case "flip":
                flip(path, chance)
            case "cut":
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size // 2)
            case _:
                path.unlink()
    parameters.start_shard(0)
    assert (writer.check(1), writer.check(2)) == (1, 2)
    assert writer.acquire().resume.number == 2
    assert not any(version.damaged_groups for version in writer.client.list_versions(writer.set))
    for version in (1, 2):
        damage_of(writer, version)  # What a flipped bit does only a reader sees.
    mend()
    assert [damage_of(writer, version) for version in (1, 2)] == [[], []]
    assert all(len(shards) >= 2 for shards in holders(writer).values())
    # What is here now is enough without the others.
    for index in (1, 2):
        parameters.stop_shard(index)
        assert writer.check(2) == 2
        parameters.start_shard(index)


def test_a_disk_that_is_new_is_filled_again(writer, parameters, mend, damage_of, tmp_path):
    writer.publish(1)
    parameters.stop_shard(2)
    shutil.rmtree(tmp_path / "shard-2")
    parameters.start_shard(2)
    assert writer.acquire().resume.number == 1
    mend()
    assert damage_of(writer) == []
    parameters.stop_shard(0)
    assert writer.check() == 1


def test_what_both_disks_have_damaged_is_said(writer, damage_of, tmp_path):
    for seed in (1, 2):
        writer.publish(seed)
    for index in range(SHARDS):
        for path in files(tmp_path, f"shard-{index}", "*/*/2/*-model-*.bin"):
            flip(path, random.Random(index))
    with pytest.raises(errors.DataLossError):
        writer.read()
    assert {damage.group for damage in damage_of(writer)} == {"model"}
    newest, older = writer.client.list_versions(writer.set)
    assert (newest.damaged_groups, older.damaged_groups) == (("model",), ())
    assert writer.acquire().resume.number == 1


def test_a_coordinator_made_anew_knows_the_copies(writer, platform, tmp_path):
    writer.publish(1)
    before = holders(writer)
    platform.stop_parameters()
    shutil.rmtree(tmp_path / "coordinator")
    platform.start_parameters(tmp_path, shards=SHARDS, replicas=2)
    assert holders(writer) == before
    assert writer.check() == 1


def test_a_seal_that_is_cut_short_when_copies_are_made_is_made_again(writer, monkeypatch):
    seal, failures = Store.seal, [errors.UnavailableError("not now", reason="RECOVERING")]

    def later(store, *args):
        if failures:
            raise failures.pop()
        return seal(store, *args)

    monkeypatch.setattr(Store, "seal", later)
    writer.publish(1)
    assert not failures
    assert writer.check() == 1


def test_what_did_not_change_is_not_copied_again(writer, tmp_path):
    content = writer.content(1)
    opened = writer.open(1) if writer.acquire() else None
    reports = _push(writer, opened, content, {})
    writer.client.seal_version(opened)
    writer.client.commit_version(opened)
    opened = writer.open(1)
    _push(writer, opened, content, reports)
    writer.client.seal_version(opened)
    writer.client.commit_version(opened)
    for index in range(SHARDS):
        for path in files(tmp_path, f"shard-{index}", "*/*/2/*.bin"):
            assert path.stat().st_nlink == 2, path.name
    assert writer.check(2) == 1


def _push(writer, opened, content, before):
    from tessera.weights.push import push  # noqa: PLC0415

    return {
        rank: push(
            opened, rank, writer.slices(content, rank), writer.token, before=before.get(rank)
        )
        for rank in range(writer.ranks)
    }


def test_what_is_dropped_goes_from_all(writer, parameters, tmp_path):
    writer.acquire(keep=1)
    for seed in (1, 2, 3):
        writer.publish(seed)
    end = time.monotonic() + 20
    while found(tmp_path, "shard-*/*/*/[12]"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert writer.check() == 3
