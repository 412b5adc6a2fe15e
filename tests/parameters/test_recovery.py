"""What becomes of versions when a coordinator's folder is lost, or a shard's files are."""

from __future__ import annotations

import shutil
import time
from concurrent import futures
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vanishing import found

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.parameters import reconciler, scrubber, sweeper
from tessera.parameters.local import LocalParameters
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.number_ranges import NumberRanges
from tessera.parameters.slice_store import SliceStore
from tessera.weights.coordinator import Coordinator
from tessera.weights.directory import find

pytestmark = pytest.mark.waits


@pytest.fixture
def again(platform, parameters, tmp_path):
    """Starts the service again, after something was done to its folders."""

    def start(harm=lambda: None):
        platform.stop_parameters()
        harm()
        return platform.start_parameters(tmp_path)

    return start


@pytest.fixture
def lost(again, tmp_path):
    """Starts it again without the coordinator's folder."""
    return lambda: again(lambda: shutil.rmtree(tmp_path / "coordinator"))


def told(writer):
    """What is said of the versions of a set."""
    return [replace(version, epoch=0) for version in writer.client.list_versions(writer.set)]


def until(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_lost_coordinator_loses_no_version(writer, another, lost):
    other = another("bert", job="j2")
    writer.acquire(keep=5)
    for seed in (1, 2, 3, 4):
        writer.publish(seed)
    other.acquire(keep=1)
    other.publish(7)
    before = told(writer), told(other)
    lost()
    assert (told(writer), told(other)) == before
    assert [writer.check(number) for number in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert other.check() == 7
    assert writer.client.get_manifest(writer.set, 3).assets == writer.assets(3)
    assert writer.publish(5).number == 5, "the writer goes on"
    assert len(told(writer)) == 5, "keep is known again"


def test_whom_a_later_writer_has_fenced_a_lost_coordinator_does_not_let_in(writer, another, lost):
    early, late = another("both", attempt=1), another("both", attempt=2)
    early.acquire()
    early.publish(1)
    late.acquire()
    late.publish(2)
    lost()
    with pytest.raises(errors.FailedPreconditionError) as caught:
        early.open(3)
    assert caught.value.reason == "FENCED"
    assert late.publish(4).number == 3
    before = late.epoch
    assert late.acquire().epoch > before


def test_an_epoch_that_nobody_can_have_is_not_taken_up(writer, lost):
    writer.publish(1)
    lost()
    writer.epoch = 10**15
    with pytest.raises(errors.FailedPreconditionError) as caught:
        writer.open(2)
    assert caught.value.reason == "FENCED"


def test_what_was_not_committed_is_not_and_its_number_is_not_used_again(writer, lost):
    writer.acquire()
    writer.publish(1)
    opened = writer.open(2)
    writer.push(opened, writer.content(2))
    writer.client.seal_version(opened)
    lost()
    assert [version.number for version in told(writer)] == [1]
    assert writer.acquire().resume.number == 1
    assert writer.publish(3).number == 3
    assert writer.check() == 3


def test_what_was_dropped_stays_dropped(writer, lost, tmp_path):
    writer.acquire(keep=1)
    for seed in (1, 2, 3):
        writer.publish(seed)
    until(lambda: not found(tmp_path, f"shard-*/{writer.set}/[12]"))
    lost()
    assert [version.number for version in told(writer)] == [3]
    writer.acquire()
    assert writer.publish(4).number == 4


def test_a_drop_that_only_one_shard_has_done_is_done_by_all(writer, again, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 0.2)
    writer.acquire(keep=5)
    for seed in (1, 2):
        writer.publish(seed)

    def harm():
        shard = SliceStore(LocalVault(tmp_path / "shard-0"))
        shard.drop((writer.set, 1))
        shard.drop((writer.set, 2), ["optimizer"])
        shutil.rmtree(tmp_path / "coordinator")

    again(harm)
    (left,) = told(writer)
    assert (left.number, set(left.groups), left.damaged_groups) == (2, {"model", "state"}, ())
    until(lambda: not found(tmp_path, f"shard-*/{writer.set}/1"))


def test_an_old_copy_of_the_coordinators_folder_catches_up(writer, again, tmp_path):
    old, now = tmp_path / "old", tmp_path / "coordinator"
    writer.acquire(keep=5)
    writer.publish(1)
    again(lambda: shutil.copytree(now, old))
    writer.acquire()
    for seed in (2, 3):
        writer.publish(seed)
    before = told(writer)
    again(lambda: (shutil.rmtree(now), shutil.copytree(old, now)))
    until(lambda: len(told(writer)) == 3)
    assert told(writer) == before
    writer.acquire()
    assert writer.publish(4).number == 4
    assert writer.check() == 4


@pytest.fixture
def short(monkeypatch):
    """Callers do not wait long for a coordinator to hear from every shard; they ask again."""
    monkeypatch.setattr(reconciler, "WAIT_SECONDS", 0.3)


@pytest.mark.usefixtures("short")
def test_nothing_is_said_before_every_shard_has_been_heard(platform, writer, tmp_path):
    writer.publish(1)
    nodes = platform.parameters.nodes
    platform.stop_parameters()
    shutil.rmtree(tmp_path / "coordinator")
    first, second, coordinator = nodes
    platform.parameters = LocalParameters([first, coordinator])
    impatient = Coordinator(platform.address, writer.token, patience=0)
    with pytest.raises(errors.UnavailableError):
        impatient.list_versions(writer.set)
    impatient.close()
    late = LocalParameters([second])
    try:
        assert writer.check() == 1
    finally:
        platform.stop_parameters()
        late.stop()


@pytest.fixture(params=[grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED])
def stranger(request):
    """Serves at an address that was given up, where it refuses every call."""

    class Refusing(grpc.ServerInterceptor):
        def intercept_service(self, continuation, handler_call_details):
            return grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(request.param, "who is it?")
            )

    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, interceptors=[Refusing()])
        yield lambda address: (server.add_insecure_port(address), server.start())
        server.stop(0).wait()


def test_an_address_that_became_anothers_is_looked_up_again(platform, writer, again, stranger):
    writer.publish(1)
    role = registry_pb2.ROLE_COORDINATOR
    address = find(platform.address, writer.token, role, "coordinator").control_address
    again(lambda: stranger(address))
    assert find(platform.address, writer.token, role, "coordinator").control_address != address
    assert writer.check() == 1


@pytest.mark.usefixtures("short")
def test_a_shard_obeys_its_own_store_alone(platform, writer, another, again, tmp_path):
    writer.publish(1)
    platform.stop_parameters()
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path, kept)
    for name in ("coordinator", "shard-0"):
        shutil.rmtree(tmp_path / name)
    # A new store on an empty shard, with a shard of the other one.
    shutil.move(tmp_path / "shard-1", tmp_path / "elsewhere")
    platform.start_parameters(tmp_path)
    other = another("other")
    other.publish(2)
    platform.stop_parameters()
    shutil.rmtree(tmp_path / "shard-1")
    shutil.move(tmp_path / "elsewhere", tmp_path / "shard-1")
    platform.start_parameters(tmp_path)
    other.acquire()
    with pytest.raises(errors.FailedPreconditionError) as caught:
        other.open(3)
    assert caught.value.reason == "STORE_MISMATCH"
    # Nor does a coordinator that has lost its folder choose one of them.
    again(lambda: shutil.rmtree(tmp_path / "coordinator"))
    with pytest.raises(errors.FailedPreconditionError) as caught:
        other.acquire()
    assert caught.value.reason == "STORE_MISMATCH"
    # The first store is as it was.
    platform.stop_parameters()
    for name in ("coordinator", "shard-0"):
        shutil.rmtree(tmp_path / name)
        shutil.move(kept / name, tmp_path / name)
    platform.start_parameters(tmp_path)
    assert writer.check(1) == 1


def largest(tmp_path, writer, version, group=""):
    every = tmp_path.glob(f"shard-*/{writer.set}/{version}/*.bin")
    found = [path for path in every if group in path.name]
    return max(found, key=lambda path: path.stat().st_size)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def verified(reader):
    """What is found when a version is read."""
    return lambda writer, version: list(reader.verify_version(writer.set, version))[-1]


def test_what_is_damaged_is_found_named_and_not_resumed_from(writer, verified, tmp_path):
    writer.acquire(keep=5)
    for seed in (1, 2, 3):
        writer.publish(seed)
    assert verified(writer, 0).damage == ()
    victim = largest(tmp_path, writer, 3, "optimizer")
    flip(victim)
    found = verified(writer, 3)
    assert found.verified == found.size == sum(tensor.size for tensor in writer.tensors)
    (damage,) = found.damage
    shard = victim.relative_to(tmp_path).parts[0]
    assert (damage.shard, damage.group) == (shard, "optimizer")
    assert damage.reason == "CHECKSUM_MISMATCH"
    assert [v.damaged_groups for v in told(writer)] == [("optimizer",), (), ()]
    assert writer.acquire().resume.number == 2
    assert writer.read(3, groups=["model"])[0] == 3, "the rest of it is served"
    # Somebody brings the disk's content back.
    flip(victim)
    assert verified(writer, 3).damage == ()
    assert writer.acquire().resume.number == 3


def test_what_a_reader_comes_upon_is_known_at_the_next_acquire(writer, tmp_path):
    writer.acquire(keep=5)
    for seed in (1, 2):
        writer.publish(seed)
    flip(largest(tmp_path, writer, 2))
    with pytest.raises(errors.DataLossError):
        writer.read()
    assert writer.acquire().resume.number == 1


def test_what_nobody_reads_is_found_by_the_scrubber(platform, writer, again, tmp_path, monkeypatch):
    writer.publish(1)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 0.2)
    monkeypatch.setattr(scrubber, "PAUSE_SECONDS", 0.05)
    again()
    assert writer.check() == 1
    flip(largest(tmp_path, writer, 1, "model"))
    until(lambda: told(writer)[0].damaged_groups == ("model",))


@pytest.mark.parametrize("what", ["short", "file", "folder", "index"])
def test_what_is_gone_is_known_at_the_next_acquire(writer, again, tmp_path, what):
    writer.acquire(keep=5)
    for seed in (1, 2):
        writer.publish(seed)
    victim = largest(tmp_path, writer, 2)

    def harm():
        if what == "short":
            victim.write_bytes(victim.read_bytes()[:-1])
        elif what == "file":
            victim.unlink()
        elif what == "folder":
            shutil.rmtree(victim.parent)
        else:
            for path in victim.parent.glob("*.index"):
                path.unlink()

    if what in {"folder", "index"}:
        again(harm)
    else:
        harm()
    assert writer.acquire().resume.number == 1
    newest = told(writer)[0]
    assert (newest.number, bool(newest.damaged_groups)) == (2, True)
    assert writer.check(1) == 1


def test_a_manifest_that_is_lost_or_damaged_is_written_again(writer, again, lost, tmp_path):
    writer.acquire(keep=5)
    for seed in (1, 2):
        writer.publish(seed)
    first, second = (tmp_path / f"shard-0/{writer.set}/{number}/manifest" for number in (1, 2))
    whole = first.read_bytes()

    def harm():
        flip(first)
        second.unlink()

    again(harm)
    until(lambda: second.exists() and first.read_bytes() == whole)
    assert all(version.damaged_groups == () for version in told(writer))
    lost()
    assert [version.number for version in told(writer)] == [2, 1]


@given(st.lists(st.integers(1, 40)), st.lists(st.integers(1, 40), max_size=5))
def test_ranges_are_a_set(numbers, more):
    ranges = NumberRanges((number, number) for number in numbers)
    for number in more:
        ranges.add(number)
    every = {*numbers, *more}
    assert {number for number in range(50) if number in ranges} == every
    assert ranges.highest == max(every, default=0)
    assert sum(last - first + 1 for first, last in ranges.ranges) == len(every)
    firsts = [first for first, _ in ranges.ranges]
    lasts = [last for _, last in ranges.ranges]
    assert all(last + 1 < first for last, first in zip(lasts, firsts[1:], strict=False))
