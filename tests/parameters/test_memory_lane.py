"""Writers on a shard's host hand over memory; what comes is held to the same checks."""

from __future__ import annotations

import fcntl
import os
import socket
import time

import numpy as np
import pytest
import versions
import xxhash
from lane_reading import all_of, opened, same

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.parameters.shared_memory import SharedMemory
from tessera.parameters.waiting_connections import WaitingConnections
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.principal import Role
from tessera.weights import descriptors, memory_lane, messages, wire
from tessera.weights.box import Box
from tessera.weights.manifest import TensorSpec

SIZE = 700_000
TENSOR = TensorSpec(group="model", name="w", shape=(SIZE,), dtype="U8")
DATA = np.random.default_rng(3).integers(0, 256, SIZE, np.uint8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Also little takes the lane, in many parts."""
    monkeypatch.setattr(memory_lane, "LEAST_BYTES", 1)
    monkeypatch.setattr(memory_lane, "MEMORY_BYTES", 200_000)


@pytest.fixture
def handed(monkeypatch) -> list[int]:
    """Sizes of what shards have read of memory."""
    sizes, real = [], SharedMemory.read

    def read(self, ticket, size):
        yield from real(self, ticket, size)
        sizes.append(size)

    monkeypatch.setattr(SharedMemory, "read", read)
    return sizes


def arrays(seed=1):
    dice = np.random.default_rng(seed)
    shapes = {"embed": (30_001, 9), "norm": (3,), "head": (50, 4000), "scale": ()}
    return {name: dice.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def whole(writer, content):
    same(all_of(writer.client.get_manifest(writer.set), writer.token), content)


@pytest.mark.waits
def test_what_was_handed_over_is_what_is_read(writer, handed):
    for seed in range(6):
        writer.commit(versions.content(content := arrays(seed)), {})
        whole(writer, content)
        if seed == 2:  # What stays open was opened by now.
            before = settled()
    assert sum(handed) == 6 * sum(array.nbytes for array in content.values())
    assert max(handed) == 200_000
    assert settled() <= before + 2


def settled() -> int:
    """Descriptors, once gRPC has closed what nobody uses any more."""
    fewest, until = opened(), time.monotonic() + 2
    while time.monotonic() < until:
        time.sleep(0.1)
        fewest = min(fewest, opened())
    return fewest


def fail_after(count):
    """Sealing that works so often, and then does not."""
    real, calls = memory_lane._sealed, []

    def sealed(parts):
        calls.append(parts)
        if len(calls) > count:
            raise OSError("no more")
        return real(parts)

    return sealed


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_can_no_more_be_handed_over_goes_through_the_stream(
    writer, handed, monkeypatch, count
):
    monkeypatch.setattr(memory_lane, "_sealed", fail_after(count))
    writer.commit(versions.content(content := arrays()), {})
    whole(writer, content)
    assert len(handed) <= count


def test_a_shard_that_gets_nothing_gets_it_by_the_stream(writer, monkeypatch):
    """Neither side saw it fail before: the push is made again, without the lane."""
    monkeypatch.setattr(WaitingConnections, "take", lambda *_: None)
    writer.commit(versions.content(content := arrays()), {})
    whole(writer, content)


def test_readers_and_writers_of_other_hosts_use_the_stream(writer, handed, monkeypatch):
    monkeypatch.setattr(descriptors, "boot_id", lambda: f"{1:08x}-0000-0000-0000-{0:012x}")
    writer.commit(versions.content(content := arrays()), {})
    whole(writer, content)
    assert not handed


def test_little_goes_through_the_stream(writer, handed, monkeypatch):
    monkeypatch.setattr(memory_lane, "LEAST_BYTES", 1 << 40)
    writer.commit(versions.content(content := arrays()), {})
    whole(writer, content)
    assert not handed


# --- a push by hand ---


def memfd(data, seals=memory_lane.SEALS):
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, bytes(data))
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class Push:
    """One tensor of an opened version, whose bytes come as whatever the test hands over."""

    def __init__(self, writer, parameters):
        writer.acquire()
        opened_ = writer.client.open_version(writer.set, writer.epoch, 1, [TENSOR], {}, {})
        self.target = pb.PushTarget(set=writer.set, rank=0, grant=opened_.grant)
        self.token = writer.token
        self.connection = data_channel(parameters.nodes[0].data_address)
        self.stub = pb_grpc.ShardDataServiceStub(self.connection)

    def ask(self, token=None, target=None):
        request = pb.ShareMemoryRequest(target=target or self.target, boot_id=descriptors.boot_id())
        with mapped_errors():
            return self.stub.ShareMemory(
                request, metadata=bearer(self.token if token is None else token)
            )

    def connect(self, offer):
        found = descriptors.connect(
            descriptors.SocketAddress(path=offer.path, device=offer.device, inode=offer.inode)
        )
        found.sendall(offer.ticket)
        return found

    def send(self, offer, size=SIZE, checksum=None):
        header = pb.SliceHeader(
            tensor=0,
            group="model",
            box=messages.box_to_pb(Box.whole((SIZE,))),
            size=SIZE,
            checksum=xxhash.xxh3_64_intdigest(DATA.data) if checksum is None else checksum,
        )
        memory = pb.SharedMemory(ticket=offer.ticket, size=size)
        stream = [
            pb.PushSlicesRequest(target=self.target),
            pb.PushSlicesRequest(headers=pb.SliceHeaders(headers=[header])),
            pb.PushSlicesRequest(memory=memory),
        ]
        ask = self.connection.stream_unary(
            wire.PUSH_METHOD, wire.serialize, pb.PushSlicesResponse.FromString
        )
        with mapped_errors():
            return ask(iter(stream), metadata=bearer(self.token), timeout=20).size


@pytest.fixture
def by_hand(writer, parameters, monkeypatch):
    monkeypatch.setattr("tessera.parameters.shared_memory.MEMORY_BYTES", 1_000_000)
    push = Push(writer, parameters)
    yield push
    push.connection.close()


def outcome(push, descriptor, **fields):
    """Bytes stored, or the reason why not."""
    offer = push.ask()
    with push.connect(offer) as connection:
        assert connection.recv(1) == b"\1"
        descriptors.send(connection, [descriptor])
        os.close(descriptor)
        try:
            return push.send(offer, **fields)
        except errors.TesseraError as error:
            return error.reason


def test_memory_is_held_to_the_checks_of_a_stream(by_hand, tmp_path):
    assert outcome(by_hand, memfd(DATA)) == SIZE
    assert outcome(by_hand, memfd(DATA), checksum=1) == "CHECKSUM_MISMATCH"
    assert outcome(by_hand, memfd(DATA[:-1])) == "BAD_MESSAGE"
    assert outcome(by_hand, memfd(DATA[:-1]), size=SIZE - 1) == "SHORT_PUSH"
    assert outcome(by_hand, memfd([*DATA, 1]), size=SIZE + 1) == "UNANNOUNCED_BYTES"
    assert outcome(by_hand, memfd(DATA), size=0) == "BAD_MESSAGE"


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW])
def test_what_its_writer_could_still_change_is_not_taken(by_hand, missing):
    assert outcome(by_hand, memfd(DATA, memory_lane.SEALS & ~missing)) == "BAD_MESSAGE"


def test_what_is_no_memory_is_not_taken(by_hand, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA.tobytes())
    assert outcome(by_hand, os.open(path, os.O_RDONLY)) == "BAD_MESSAGE"
    read, write = os.pipe()
    os.close(write)
    assert outcome(by_hand, read) == "BAD_MESSAGE"


def test_a_ticket_is_of_its_set_alone_and_good_once(by_hand, platform, monkeypatch):
    monkeypatch.setattr("tessera.parameters.shared_memory.SECONDS", 0.2)
    offer = by_hand.ask()
    for _ in range(2):  # Nobody has connected; then somebody has, who hands nothing over.
        with pytest.raises(errors.FailedPreconditionError) as caught:
            by_hand.send(offer)
        assert caught.value.reason == "NO_LANE"
        connection = by_hand.connect(offer)
        connection.recv(1)
    again = by_hand.connect(offer)
    assert again.recv(1) == b""
    again.close()
    connection.close()


def test_who_may_not_write_gets_no_ticket(by_hand, platform):
    stranger = platform.issue(subject="eve", role=Role.SUBMITTER, tenant="other")
    reader = platform.issue(subject="bob", role=Role.VIEWER, tenant="default")
    for token, reason in ((stranger, "OTHER_TENANT"), (reader, "ROLE_DENIED")):
        with pytest.raises(errors.PermissionDeniedError) as caught:
            by_hand.ask(token)
        assert caught.value.reason == reason
    forged = pb.PushTarget(set=by_hand.target.set, rank=0, grant="forged")
    with pytest.raises(errors.PermissionDeniedError) as caught:
        by_hand.ask(target=forged)
    assert caught.value.reason == "GRANT_INVALID"


def test_connections_wait_for_a_while_and_not_too_many():
    waiting = WaitingConnections(most=2, seconds=0.3)
    pairs = [socket.socketpair() for _ in range(3)]
    kept = [waiting.put(bytes([n]), "a/s", pair[0]) for n, pair in enumerate(pairs)]
    assert kept == [True, True, False]
    assert waiting.take(b"\0", "a/other") is None
    assert waiting.take(b"\0", "a/s") is pairs[0][0]
    assert waiting.take(b"\0", "a/s") is None
    pairs[1][1].settimeout(5)
    assert pairs[1][1].recv(1) == b"", "the second is closed when nobody asks"
    for pair in pairs:
        for end in pair:
            end.close()
