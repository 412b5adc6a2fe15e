"""A shard alone: damaged bytes, torn files, a full pool, strangers."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pushes import TARGET, announced, content, noise, receive
from structlog.testing import CapturingLogger

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.parameters import nodes, scrubber
from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.config import ServiceAddress, ShardConfig
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.metrics import DISK_BYTES
from tessera.parameters.pending import PendingPiece
from tessera.parameters.push_stream import PushStream
from tessera.parameters.scrubber import Scrubber
from tessera.parameters.slice_store import SliceStore
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.weights.push import push


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_what_the_pool_cannot_hold_goes_to_disk_and_is_read_the_same(open_vault, blocks):
    store, pool = SliceStore(open_vault()), BufferPool(blocks * BLOCK_BYTES)
    inbox = Inbox(store, pool)
    parts = [
        ("model", noise(3 * BLOCK_BYTES + 5)),
        ("optimizer", noise(17, 2)),
        ("model", noise(BLOCK_BYTES, 3)),
    ]
    size = receive(inbox, parts, 1_000_003)
    assert size == sum(data.size for _, data in parts)
    slices = inbox.persist(TARGET.key)
    assert inbox.memory_bytes == 0
    assert store.disk_bytes == size
    for shard in (store, SliceStore(open_vault())):
        for source in slices:
            assert content(shard, source) == parts[source.tensor][1].tobytes()


def test_a_wrong_checksum_is_refused_and_leaves_nothing(open_vault):
    pool = BufferPool(4 * BLOCK_BYTES)
    inbox = Inbox(SliceStore(open_vault()), pool)
    pushed = PushStream(inbox, TARGET, "shard-0")
    pushed.announce([announced(noise(10), checksum=7)])
    with pytest.raises(errors.DataLossError) as caught:
        pushed.take(noise(10))
    assert caught.value.reason == "CHECKSUM_MISMATCH"
    pushed.discard()
    assert pool.used == 0
    assert inbox.persist(TARGET.key) == []


def test_streams_that_end_early_or_late_are_refused(open_vault):
    inbox = Inbox(SliceStore(open_vault()), BufferPool(BLOCK_BYTES))
    pushed = PushStream(inbox, TARGET, "shard-0")
    pushed.announce([announced(noise(10))])
    pushed.take(noise(10)[:9])
    with pytest.raises(errors.DataLossError):
        pushed.finish()
    pushed.take(noise(10)[9:])
    with pytest.raises(errors.InvalidArgumentError):
        pushed.take(noise(1))


def test_what_was_being_written_is_swept_away_and_nothing_else(tmp_path):
    inbox = Inbox(SliceStore(LocalVault(tmp_path)), BufferPool(BLOCK_BYTES))
    receive(inbox, [("model", noise(100))])
    (source,) = inbox.persist(TARGET.key)
    folder = tmp_path / "default" / "gpt" / "1"
    for name in ("0-model-1.tmp", "0-model-2.bin", "0.tmp"):
        (folder / name).write_bytes(b"torn")
    again = SliceStore(LocalVault(tmp_path))
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"0.index", "0-model-2.bin", f"{source.piece}.bin"}
    assert again.slices(TARGET.key) == [source]
    assert again.rank(TARGET.key, 0) == [source]
    again.drop(TARGET.key)
    assert not folder.exists()


def test_a_dropped_group_stays_dropped_after_a_restart(open_vault):
    inbox = Inbox(store := SliceStore(open_vault()), BufferPool(BLOCK_BYTES))
    receive(inbox, [("model", noise(100)), ("optimizer", noise(50))])
    inbox.persist(TARGET.key)
    assert store.drop(TARGET.key, ["optimizer"]) == 50
    again = SliceStore(open_vault())
    assert again.disk_bytes == store.disk_bytes == 100
    assert [source.tensor for source in again.slices(TARGET.key)] == [0]
    assert again.drop(TARGET.key) == 100
    last = SliceStore(open_vault())
    assert (last.versions, last.was_dropped(TARGET.key), last.highest()) == (
        0,
        True,
        {TARGET.set: 1},
    )


def test_readers_keep_what_they_have_open_when_it_is_dropped(open_vault):
    inbox = Inbox(store := SliceStore(open_vault()), BufferPool(BLOCK_BYTES))
    data = noise(50_000)
    receive(inbox, [("model", data)])
    (source,) = inbox.persist(TARGET.key)
    with store.piece(TARGET.key, source.piece).opened() as file:
        store.drop(TARGET.key)
        assert b"".join(map(bytes, file.read(source, 0, source.size))) == data.tobytes()
    with pytest.raises(errors.NotFoundError) as caught:
        store.piece(TARGET.key, source.piece)
    assert caught.value.reason == "PIECE_NOT_FOUND"


def test_a_disk_that_fails_while_it_is_made_durable_leaves_nothing(
    open_vault, tmp_path, monkeypatch
):
    """Of two pieces, one was in its place already."""
    inbox = Inbox(store := SliceStore(open_vault()), BufferPool(4 * BLOCK_BYTES))
    receive(inbox, [("model", noise(100)), ("optimizer", noise(50, 2))])
    land = PendingPiece.land

    def full(piece):
        if piece.group == "optimizer":
            raise OSError(errno.ENOSPC, "full")
        land(piece)

    monkeypatch.setattr(PendingPiece, "land", full)
    with pytest.raises(OSError, match="full"):
        inbox.persist(TARGET.key)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not store.vault.files(store.folder(TARGET.key))
    assert (store.slices(TARGET.key), inbox.memory_bytes) == ([], 0)


def test_late_writers_are_fenced(open_vault):
    inbox = Inbox(SliceStore(open_vault()), BufferPool(BLOCK_BYTES))
    newer = Target(set=TARGET.set, version=3, epoch=2, rank=0)
    old = PushStream(inbox, TARGET, "shard-0")
    inbox.begin(newer)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        inbox.begin(TARGET)
    assert caught.value.reason == "FENCED"
    with pytest.raises(errors.FailedPreconditionError):
        old.finish()
    inbox.drop(newer.key)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        inbox.begin(newer)
    assert caught.value.reason == "VERSION_CLOSED"


def test_a_version_is_dropped_before_it_is_made_durable_or_after(open_vault, monkeypatch):
    inbox = Inbox(store := SliceStore(open_vault()), BufferPool(BLOCK_BYTES))
    receive(inbox, [("model", noise(100))])
    landing, go, land = threading.Event(), threading.Event(), PendingPiece.land

    def slowly(piece):
        landing.set()
        assert go.wait(5)
        land(piece)

    monkeypatch.setattr(PendingPiece, "land", slowly)
    with ThreadPoolExecutor(2) as threads:
        durable = threads.submit(inbox.persist, TARGET.key)
        assert landing.wait(5)
        dropped = threads.submit(inbox.drop, TARGET.key)
        with pytest.raises(TimeoutError):
            dropped.result(0.1)
        go.set()
        assert len(durable.result(5)) == 1
        assert dropped.result(5) == 100
    assert not store.vault.folders(TARGET.set)
    assert store.versions == 0


def test_a_damaged_disk_is_noticed_at_the_first_read(platform, tmp_path, another):
    platform.start_parameters(tmp_path)
    writer = another()
    writer.publish(1)
    platform.stop_parameters()
    victim = max(tmp_path.glob("shard-*/*/*/1/*.bin"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    platform.start_parameters(tmp_path)
    try:
        with pytest.raises(errors.DataLossError) as caught:
            writer.read()
        assert caught.value.reason == "CHECKSUM_MISMATCH"
    finally:
        platform.stop_parameters()


def test_without_a_token_nothing_is_moved_and_control_is_for_services(writer, parameters, platform):
    opened = (writer.acquire(), writer.open(1))[1]
    with pytest.raises(errors.UnauthenticatedError):
        push(opened, 0, writer.slices(writer.content(1), 0), "", patience=0)
    with channel(parameters.nodes[0].address) as connection:
        stub = pb_grpc.ShardServiceStub(connection)
        for token, kind in (
            ("", errors.UnauthenticatedError),
            (writer.token, errors.PermissionDeniedError),
        ):
            with pytest.raises(kind), mapped_errors():
                stub.DropVersion(
                    pb.DropVersionRequest(set=writer.set, version=1), metadata=bearer(token)
                )
        status = stub.GetShardStatus(pb.GetShardStatusRequest(), metadata=bearer(platform.token))
        assert status.name == "shard-0"


async def test_what_is_on_disk_is_told_again_and_again(platform, tmp_path, monkeypatch):
    """Ray forgets a gauge that is not set."""
    told, thrice = [], asyncio.Event()

    class Meter:
        def record(self, metric, value):
            told.append((metric, value))
            if len(told) > 2:
                thrice.set()

    monkeypatch.setattr(nodes, "MEASURE_SECONDS", 0.01)
    place = ServiceAddress(controller=platform.address, token=platform.node_tokens()[1])
    node = nodes.ShardNode(ShardConfig(index=0, data_dir=tmp_path), place, Meter())
    await node.start()
    try:
        await asyncio.wait_for(thrice.wait(), 20)
    finally:
        await node.stop()
    assert set(told) == {(DISK_BYTES, 0)}
    assert repr(node) == f"shard-0: began with nothing, at {node.address}"


def test_what_killed_processes_left_is_removed_at_a_start(tmp_path):
    folders = (tmp_path, tmp_path / "default" / "gpt", tmp_path / "default" / "gpt" / "1")
    folders[-1].mkdir(parents=True)
    for folder in folders:
        (folder / ".head.12ab34cd.tmp").write_bytes(b"half")
        (folder / "other").write_bytes(b"whole")
    LocalVault(tmp_path)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"other"}


@pytest.mark.parametrize("drop", [False, True])
async def test_what_is_dropped_while_it_is_scrubbed_is_not_said_to_be_damaged(
    open_vault, monkeypatch, drop
):
    store = SliceStore(open_vault())
    inbox = Inbox(store, BufferPool(BLOCK_BYTES))
    receive(inbox, [("model", noise(100))])
    inbox.persist(TARGET.key)
    whole = store.verify

    def verify(key):
        folder = store.held(key[0])[key]
        for piece in folder.pieces:
            store.vault.remove(piece.file)
        if drop:
            store.drop(key)
            return folder.verify()
        return whole(key)

    monkeypatch.setattr(store, "verify", verify)
    monkeypatch.setattr(scrubber, "PAUSE_SECONDS", 0.0)
    said = CapturingLogger()
    monkeypatch.setattr(scrubber, "log", said)
    await Scrubber(store, rate=10**9)._round()
    assert [call.args[0] for call in said.calls] == ([] if drop else ["damaged"])
