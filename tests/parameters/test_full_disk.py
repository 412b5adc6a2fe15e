"""Disks without room: nothing is lost, old versions go first, and it goes on by itself."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest
from vanishing import found
from versions import Writer, content

from tessera import errors
from tessera.parameters import disk
from tessera.parameters.reserve import NAME, RESERVE_BYTES, Reserve
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec

pytestmark = pytest.mark.processes

MIB = 1024 * 1024
DISK, VERSION = 128 * MIB, 16 * MIB


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A filesystem of `DISK` bytes."""
    folder = tmp_path_factory.mktemp("small")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small filesystem cannot be mounted: that needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def crowded(platform, small, request):
    """A parameter service on it."""
    yield platform.start_parameters(small / request.node.name)
    platform.stop_parameters()
    subprocess.run(["rm", "-rf", small / request.node.name], check=True)


@pytest.fixture
def writer(platform, crowded):
    writer = Writer(platform, "big")
    writer.acquire(keep=100)
    yield writer
    writer.client.close()


@pytest.fixture
def ballast(small):
    """Takes what is left but for some bytes."""
    path = small / "ballast"

    def take(left=0):
        path.write_bytes(bytes(max(0, disk.free_bytes(small) - left)))

    yield take
    path.unlink(missing_ok=True)


def publish(writer, seed):
    data = np.random.default_rng(seed).standard_normal(VERSION // 4).astype(np.float32)
    return writer.commit(content({"w": data}), {}, step=seed).number


def numbers(writer):
    return [version.number for version in writer.client.list_versions(writer.set)]


def reason_of(what):
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        what()
    assert caught.value.retry_after
    return caught.value.reason


def test_the_oldest_go_where_there_is_no_room(writer, small):
    for seed in range(1, 15):
        assert publish(writer, seed) == seed
    held = numbers(writer)
    assert held == list(range(14, 14 - len(held), -1))
    assert 2 <= len(held) < 14
    assert disk.free_bytes(small) > 0


def test_what_is_pinned_stays_and_the_refusal_loses_nothing(writer, ballast, small):
    for seed in (1, 2):
        publish(writer, seed)
        writer.client.pin_version(writer.set, seed, "reader", 600)
    ballast(left=20 * MIB)
    assert reason_of(lambda: publish(writer, 3)) == "DISK_FULL"
    assert numbers(writer) == [2, 1]
    (small / "ballast").unlink()
    assert publish(writer, 4) == 3, "and it goes on by itself"


def test_what_could_not_fit_makes_nothing_go(writer, platform):
    """Neither for its own writer, nor for one that was fenced off."""
    for seed in (1, 2):
        publish(writer, seed)
    vast = [TensorSpec(group="model", name="w", shape=(DISK,), dtype="F32")]
    assert reason_of(lambda: writer.client.open_version(writer.set, writer.epoch, 3, vast)) == (
        "DISK_FULL"
    )
    more = [TensorSpec(group="model", name="w", shape=(DISK - 40 * MIB,), dtype="U8")]
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.client.open_version(writer.set, writer.epoch - 1, 3, more)
    assert caught.value.reason == "FENCED"
    assert numbers(writer) == [2, 1]


def test_a_disk_without_a_byte(writer, ballast, platform, small, request):
    """Reads go on; what changes something is refused; what gives room back is not."""
    reader = Coordinator(platform.address, platform.token)
    for seed in (1, 2):
        publish(writer, seed)
    writer.client.pin_version(writer.set, 1, "reader", 600)
    root = small / request.node.name
    for node in ("coordinator", "shard-0", "shard-1"):
        Reserve(root / node).make()
        assert (root / node / NAME).stat().st_size == RESERVE_BYTES
    ballast()
    assert disk.free_bytes(small) == 0
    assert numbers(writer) == [2, 1]
    for _ in range(3):
        assert reason_of(lambda: reader.acquire_writer("default/new", "import", 1)) == ("DISK_FULL")
    assert reason_of(lambda: publish(writer, 3)) == "DISK_FULL"
    assert reader.delete_set(writer.set, force=True)[0] == 2
    end = time.monotonic() + 20
    while found(root, "shard-*/default/big/*/*.bin"):
        assert time.monotonic() < end
        time.sleep(0.05)
    writer.acquire()
    assert publish(writer, 5) == 3
    reader.close()


def test_the_reserve_is_made_again(small, ballast):
    reserve = Reserve(small)
    reserve.make()
    ballast()
    tried = []

    def work():
        tried.append(1)
        if len(tried) == 1:
            raise disk.disk_full("shard")
        (small / "made").write_bytes(bytes(MIB))

    reserve.spend(work)
    assert not (small / NAME).exists()
    reserve.make()
    assert not (small / NAME).exists(), "there is no room for it yet"
    (small / "ballast").unlink()
    reserve.make()
    assert (small / NAME).exists()
    (small / "made").unlink()

    def refuse():
        raise errors.ResourceExhaustedError("too many", reason="QUOTA_EXCEEDED")

    with pytest.raises(errors.ResourceExhaustedError):
        reserve.spend(refuse)
    assert (small / NAME).exists(), "another refusal has nothing to do with it"
    (small / NAME).unlink()
