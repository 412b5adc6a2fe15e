"""Rolling a set back, telling what its head was, and deleting it, against real servers."""

from __future__ import annotations

import shutil
import threading
import time

import pytest
from vanishing import found

from tessera import errors
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.slice_store import SliceStore
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import HeadMove

pytestmark = pytest.mark.waits


@pytest.fixture
def lost(platform, parameters, tmp_path):
    """Starts the service again without the coordinator's folder."""

    def start(harm=lambda: None):
        platform.stop_parameters()
        shutil.rmtree(tmp_path / "coordinator")
        harm()
        return platform.start_parameters(tmp_path)

    return start


@pytest.fixture
def filled(writer, reader):
    """A set with versions 1, 2 and 3, and a person to move its head."""
    writer.acquire(keep=3)
    for seed in (1, 2, 3):
        writer.publish(seed)
    writer.person = reader
    return writer


def until(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def head(writer):
    return writer.client.get_manifest(writer.set).version.number


def history(writer):
    return [(move.version, move.rollback) for move in writer.person.list_head_moves(writer.set)]


def test_readers_get_what_a_set_was_rolled_back_to(filled):
    client = filled.person
    move = client.rollback_set(filled.set, 1)
    assert (move.version, move.rollback) == (1, True)
    assert filled.check() == 1
    assert head(filled) == 1
    (known,) = client.list_sets()
    assert (known.head.number, known.versions) == (1, 3), "nothing is dropped"
    assert client.rollback_set(filled.set, 1).sequence == move.sequence, "twice is once"
    assert client.rollback_set(filled.set, 3).sequence > move.sequence, "and forward again"
    assert head(filled) == 3
    assert history(filled) == [(3, True), (1, True), (3, False), (2, False), (1, False)]
    movers = {one.rollback: one.mover for one in client.list_head_moves(filled.set)}
    assert movers[False] == "j1/1"
    assert movers[True] not in {"", "j1/1"}


def test_the_next_commit_moves_on(filled):
    filled.person.rollback_set(filled.set, 1)
    assert filled.publish(4).number == 4, "numbers never go back"
    assert head(filled) == 4
    grant = filled.acquire()
    assert grant.resume.number == 4


def test_the_head_stays_however_old_it_is(filled):
    filled.person.rollback_set(filled.set, 1)
    filled.acquire(keep=1)
    opened = filled.open(4)
    filled.push(opened, filled.content(4))
    filled.client.seal_version(opened)
    filled.client.abort_version(opened)
    assert 1 in {version.number for version in filled.client.list_versions(filled.set)}
    assert filled.check() == 1


def test_whoever_watches_hears_of_each_move(filled):
    seen, arrived = [], threading.Event()
    watch = filled.person.watch_set(filled.set)

    def follow():
        for version in watch:
            seen.append(version.number)
            arrived.set()

    thread = threading.Thread(target=follow)
    thread.start()
    for number in (3, 1, 2, 1):
        if seen:
            filled.person.rollback_set(filled.set, number)
        assert arrived.wait(10)
        arrived.clear()
    watch.close()
    thread.join(10)
    assert seen == [3, 1, 2, 1]


def test_shards_know_of_it(filled, lost):
    """A coordinator that lost everything, and a shard that lost its own word."""
    filled.person.rollback_set(filled.set, 2)
    lost()
    assert head(filled) == 2
    assert history(filled)[0] == (2, True)
    filled.acquire()
    filled.publish(4)
    lost()
    assert head(filled) == 4, "a commit after it counts"


def test_one_shard_is_enough(filled, lost, tmp_path):
    filled.person.rollback_set(filled.set, 2)
    path = tmp_path / "shard-0" / filled.set / "head"
    lost(lambda: path.write_bytes(path.read_bytes()[:-3]))
    assert head(filled) == 2


def test_what_cannot_be_served_is_no_head(filled, platform, tmp_path):
    def refused(number):
        with pytest.raises(errors.TesseraError) as caught:
            filled.person.rollback_set(filled.set, number)
        return caught.value.reason

    assert refused(9) == "VERSION_NOT_FOUND"
    filled.publish(4)
    assert refused(1) == "VERSION_DROPPED"
    next(tmp_path.glob(f"shard-1/{filled.set}/2/*.bin")).unlink()
    list(filled.person.verify_version(filled.set, 2))
    assert refused(2) == "VERSION_DAMAGED"
    with pytest.raises(errors.NotFoundError):
        filled.person.list_head_moves("default/none")
    assert head(filled) == 4


def test_a_deleted_set_is_gone_and_its_numbers_go_on(filled, reader, platform, tmp_path):
    versions, size = reader.delete_set(filled.set)
    assert (versions, size) == (3, 3 * sum(tensor.size for tensor in filled.tensors))
    assert reader.list_sets() == []
    for ask in (reader.list_versions, reader.get_manifest, reader.delete_set):
        with pytest.raises(errors.NotFoundError) as caught:
            ask(filled.set)
        assert caught.value.reason == "SET_NOT_FOUND"
    with pytest.raises(errors.FailedPreconditionError) as caught:
        filled.open(4)
    assert caught.value.reason == "FENCED"
    until(lambda: not found(tmp_path, f"shard-*/{filled.set}/*/*.bin"))
    assert filled.acquire().resume is None
    assert filled.publish(5).number == 4
    assert history(filled) == [(4, False)]


def test_it_does_not_come_back(filled, reader, lost, tmp_path):
    reader.delete_set(filled.set)
    until(lambda: not found(tmp_path, f"shard-*/{filled.set}/*/*.bin"))
    lost()
    assert reader.list_sets() == []
    filled.acquire()
    assert filled.publish(5).number == 4


def test_what_is_used_is_not_deleted(filled, reader):
    filled.client.pin_version(filled.set, 3, "replica", 60)
    filled.open(4)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        reader.delete_set(filled.set)
    assert caught.value.reason == "SET_IN_USE"
    assert "attempt:j1/1/replica (version 3)" in caught.value.message
    assert "job j1 (writes version 4)" in caught.value.message
    assert filled.check() == 3
    assert reader.delete_set(filled.set, force=True)[0] == 3
    assert reader.list_sets() == []


def test_a_watcher_hears_that_a_set_is_gone(filled, reader):
    watch = reader.watch_set(filled.set)
    assert next(watch).number == 3
    reader.delete_set(filled.set)
    with pytest.raises(errors.NotFoundError):
        next(watch)
    watch.close()


def test_lists_of_sets_count_what_is_held(filled, another, reader, tmp_path):
    other = another("bert", job="j2")
    other.acquire(keep=1)
    other.publish(1)
    other.publish(2)
    size = sum(tensor.size for tensor in filled.tensors)
    found = {known.name: known for known in reader.list_sets()}
    assert {n: (k.versions, k.size, k.damaged_versions) for n, k in found.items()} == {
        filled.set: (3, 3 * size, 0),
        other.set: (1, size, 0),
    }
    next(tmp_path.glob(f"shard-1/{filled.set}/2/*.bin")).unlink()
    list(reader.verify_version(filled.set, 2))
    assert [known.damaged_versions for known in reader.list_sets()] == [0, 1]


def test_a_later_rollback_is_not_undone_by_an_earlier_one(tmp_path):
    store = SliceStore(LocalVault(tmp_path))
    moves = [
        HeadMove(sequence=sequence, version=sequence, time=1.0, mover="me", rollback=True)
        for sequence in (5, 4)
    ]
    for move in moves:
        store.record_head("a/s", move)
    assert store.heads() == {"a/s": moves[0]}
    store.close()
    again = SliceStore(LocalVault(tmp_path))
    assert again.heads() == {"a/s": moves[0]}
    again.close()


def test_the_client_waits_for_a_coordinator_that_is_away(filled, platform):
    impatient = Coordinator(platform.address, platform.token, patience=0)
    platform.stop_parameters()
    with pytest.raises(errors.UnavailableError):
        impatient.rollback_set(filled.set, 1)
