"""A shard does the same whatever it keeps its bytes in: damage, copies, reuse, starts."""

from __future__ import annotations

import pytest
from memory_vault import MemoryVault
from pushes import TARGET, announced, content, noise, receive

from tessera import errors
from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.copier import Copier, PieceContent, WantedPiece
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.piece import digest_of
from tessera.parameters.push_stream import PushStream
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.version_record import VersionRecord
from tessera.weights.manifest import (
    HeadMove,
    Manifest,
    ShardAddress,
    TensorSpec,
    Version,
    VersionState,
)

NEXT = Target(set=TARGET.set, version=2, epoch=1, rank=0)
GROUPS = ("model", "optimizer")
PARTS = [("model", noise(5000)), ("optimizer", noise(300, 2))]


def record(key):
    """A committed version of `PARTS`."""
    version = Version(
        set=key[0], number=key[1], state=VersionState.COMMITTED, epoch=1, job="j1", attempt=1,
        step=1, groups=GROUPS,
    )  # fmt: skip
    tensors = [TensorSpec(group=g, name="w", shape=(d.size,), dtype="U8") for g, d in PARTS]
    return VersionRecord(
        manifest=Manifest(version=version, tensors=tensors, slices=[], assets={}), keep=2
    )


@pytest.fixture
def start(open_vault):
    """Starts a shard on what its last process left."""
    started = []

    def begin(shard="shard-0"):
        started.append(SliceStore(open_vault(shard)))
        return started[-1]

    yield begin
    for store in started:
        store.close()


@pytest.fixture
def store(start):
    """A shard with a committed version."""
    store = start()
    inbox = Inbox(store, BufferPool(4 * BLOCK_BYTES))
    receive(inbox, PARTS)
    inbox.persist(TARGET.key)
    store.record(TARGET.key, record(TARGET.key))
    return store


def whole(store, key=TARGET.key):
    """Every slice is what was pushed."""
    slices = store.slices(key)
    for source in slices:
        assert content(store, source, key) == PARTS[source.tensor][1].tobytes()
    return sorted(source.tensor for source in slices) == [0, 1]


def test_what_is_there_is_there_after_a_start(store, start):
    move = HeadMove(sequence=3, version=1, time=1.0, mover="me", rollback=True)
    store.record_head(TARGET.set, move)
    again = start()
    assert whole(again)
    assert (again.heads(), again.read(TARGET.key)) == ({TARGET.set: move}, store.read(TARGET.key))
    assert again.rank(TARGET.key, 0) == store.rank(TARGET.key, 0)
    assert (again.versions, again.damaged_versions) == (1, 0)


def flip(raw):
    return raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]


@pytest.mark.parametrize(
    ("harm", "reason", "seen_at_start"),
    [
        (flip, "CHECKSUM_MISMATCH", False),
        (lambda raw: raw[:-1], "SHORT_FILE", True),
        (None, "PIECE_LOST", True),
    ],
)
def test_damage_is_told_and_the_rest_is_served(store, start, harm, reason, seen_at_start):
    model, optimizer = sorted(store.slices(TARGET.key), key=lambda source: source.tensor)
    file = store.piece(TARGET.key, model.piece).file
    raw = store.vault.read(file)
    store.vault.remove(file)
    if harm is not None:
        store.vault.replace(file, harm(raw))
    for shard in (store, again := start()):
        with pytest.raises(errors.DataLossError) as caught:
            content(shard, model)
        assert caught.value.reason == reason
        assert content(shard, optimizer) == PARTS[1][1].tobytes()
    assert again.damaged_versions == int(seen_at_start)
    list(again.verify(TARGET.key))
    (folder,) = again.held().values()
    assert [damage.reason for damage in folder.damage] == [reason]
    again.vault.replace(file, raw)
    list(again.verify(TARGET.key))
    assert whole(again)
    assert again.damaged_versions == 0


@pytest.mark.parametrize("name", ["0.index", "manifest"])
def test_a_damaged_file_about_them_stays_and_is_told(store, start, name):
    file = f"{store.folder(TARGET.key)}/{name}"
    store.vault.replace(file, flip(store.vault.read(file)))
    again = start()
    (folder,) = again.held().values()
    assert {d.reason for d in folder.damage} >= {f"{name.removeprefix('0.').upper()}_DAMAGED"}
    assert name in again.vault.files(again.folder(TARGET.key))


def test_a_damaged_list_of_what_was_dropped_is_put_away(store, start):
    store.drop(TARGET.key)
    store.vault.replace(f"{TARGET.set}/dropped", b"nonsense")
    assert not start().was_dropped(TARGET.key)
    assert store.vault.files(TARGET.set) == ["dropped.damaged"]


def copier(store, other, fetched=None):
    """Copies from one shard to another, as messages would bring it; `fetched` gets the bytes."""

    def fetch(source, key, name):
        piece = store.piece(key, name)
        slices = tuple(piece.slices[offset] for offset in sorted(piece.slices))

        def data():
            with piece.opened() as file:
                for one in slices:
                    for part in file.read(one, 0, one.size):
                        if fetched is not None:
                            fetched.append(part)
                        yield part

        return PieceContent(group=piece.group, slices=slices, data=data())

    return Copier("shard-1", other, fetch)


def wanted(store, key):
    source = (ShardAddress(name="shard-0", data_address="a:1"),)
    return [
        WantedPiece(name=p.name, digest=digest_of(list(p.slices.values())), sources=source)
        for p in store.held()[key].pieces
    ]


def test_copies_take_the_place_of_what_is_damaged_or_missing(store, start):
    other = start("shard-1")
    assert copier(store, other).copy(TARGET.key, wanted(store, TARGET.key)) == []
    other.record(TARGET.key, record(TARGET.key))
    assert whole(other)
    piece = other.held()[TARGET.key].pieces[0]
    other.vault.replace(piece.file, b"nonsense")
    list(other.verify(TARGET.key))
    assert other.damaged_versions == 1
    assert copier(store, other).copy(TARGET.key, wanted(store, TARGET.key)) == []
    for shard in (other, start("shard-1")):
        assert whole(shard)
        assert shard.damaged_versions == 0


def test_the_same_bytes_are_copied_once_where_there_are_links(store, start):
    """And are fetched again where there are none."""
    other, inbox = start("shard-1"), Inbox(store, BufferPool(4 * BLOCK_BYTES))
    copier(store, other).copy(TARGET.key, wanted(store, TARGET.key))
    other.record(TARGET.key, record(TARGET.key))
    receive(inbox, PARTS, target=NEXT)
    inbox.persist(NEXT.key)
    fetched = []
    assert copier(store, other, fetched).copy(NEXT.key, wanted(store, NEXT.key)) == []
    assert bool(fetched) == isinstance(other.vault, MemoryVault)
    other.drop(TARGET.key)
    for shard in (other, start("shard-1")):
        assert whole(shard, NEXT.key)


def test_a_copy_that_comes_damaged_leaves_nothing(store, start):
    other, (piece, _) = start("shard-1"), store.held()[TARGET.key].pieces
    copying = copier(store, other)
    fetch = copying._fetch

    def torn(source, key, name):
        found = fetch(source, key, name)
        data = (part ^ 1 for part in found.data)
        return PieceContent(group=found.group, slices=found.slices, data=data)

    copying._fetch = torn
    (want, *_) = wanted(store, TARGET.key)
    (failed,) = copying.copy(TARGET.key, [want])
    assert (failed.reason, failed.piece) == ("CHECKSUM_MISMATCH", piece.name)
    assert other.vault.files(other.folder(TARGET.key)) == []


def test_what_an_earlier_version_has_is_taken_over_or_asked_for(store, start):
    inbox = Inbox(store, BufferPool(4 * BLOCK_BYTES))
    pushed, model = PushStream(inbox, NEXT, "shard-0"), PARTS[0][1]
    reused = announced(model, reuse=(1, 0))
    if isinstance(store.vault, MemoryVault):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            pushed.announce([reused])
        assert caught.value.reason == "NOT_HELD"
        pushed.announce([announced(model)])
        pushed.take(model)
    else:
        pushed.announce([reused])
    pushed.announce([announced(PARTS[1][1], "optimizer", 1)])
    pushed.take(PARTS[1][1])
    pushed.finish()
    store.drop(TARGET.key)
    inbox.persist(NEXT.key)
    assert whole(store, NEXT.key)
    assert whole(start(), NEXT.key)
