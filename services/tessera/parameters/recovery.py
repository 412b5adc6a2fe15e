"""What shards know and the coordinator's store does not: all of it, if its folder was lost."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.heads import move_head
from tessera.parameters.holders import Key, add
from tessera.parameters.holding import HeldRecord, Holding
from tessera.parameters.members import member_names
from tessera.parameters.piece import distinct, pieces_of
from tessera.parameters.rows import NOBODY, make_set
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.parameters.version_record import VersionRecord
from tessera.weights import messages
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import TensorSpec, VersionState
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_to_pb


class Recovery:
    """Makes the store know what its shards know; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    @property
    def store(self) -> str:
        """Id of the store; empty: not known yet whose shards these are."""
        with self._database.transaction() as db:
            row = db.execute("SELECT id FROM store").fetchone()
            return str(row["id"]) if row else ""

    def settle(self, holdings: Mapping[str, Holding]) -> str:
        """The id of the store: one's own, or the shards', or a new one.

        Raises:
            FailedPreconditionError: the shards are of several stores (STORE_MISMATCH).
        """
        own = self.store
        stores = {shard: found.store for shard, found in holdings.items() if found.store}
        if own:
            stores["the coordinator"] = own
        if len(set(stores.values())) > 1:
            text = ", ".join(f"{shard} to {store}" for shard, store in sorted(stores.items()))
            raise errors.FailedPreconditionError(
                f"what is in these folders does not belong together: {text}; start each store's"
                " shards with a coordinator of their own",
                reason="STORE_MISMATCH",
            )
        return next(iter(stores.values()), "") or uuid.uuid4().hex

    def finish(self, store: str, *, recovered: bool) -> None:
        """Everything that shards know is known, whether or not there was any that was not."""
        now = time.time() if recovered else 0
        with self._database.transaction() as db:
            if db.execute("SELECT id FROM store").fetchone() is None:
                db.execute("INSERT INTO store VALUES (?, ?)", (store, now))
            elif recovered:
                db.execute("UPDATE store SET recovered = ?", (now,))

    def sets(self) -> list[str]:
        """Names of all sets."""
        with self._database.transaction() as db:
            return [row["name"] for row in db.execute("SELECT name FROM sets ORDER BY name")]

    def catch_up(self, holdings: Mapping[str, Holding]) -> list[Key]:
        """Let numbers and epochs go on after all that shards have seen.

        Returns:
            Versions that shards have a record of and the store does not know as committed or given
            up, or of which it does not know all that there is, oldest first.
        """
        unknown: set[Key] = set()
        with self._database.transaction() as db:
            for holding in holdings.values():
                for name, held in holding.sets.items():
                    # As one that was deleted, unless a version of it is found.
                    make_set(db, name, NOBODY, deleted=time.time())
                    db.execute(
                        "UPDATE sets SET next = max(next, ?), moves = max(moves, ?) WHERE name = ?",
                        (held.number + 1, held.head.sequence if held.head else 0, name),
                    )
                    _advance_epoch(db, name, held.epoch)
                    known = _numbers(db, name)
                    recorded = {n for n, version in held.versions.items() if version.recorded}
                    unknown |= {(name, number) for number in recorded - known}
        return sorted(unknown)

    def adopt(self, key: Key, found: Sequence[HeldRecord]) -> bool:
        """Know a version that shards have a record of; returns whether it is committed now.

        One that some shard was told to forget is forgotten by all. One that the store has as sealed
        was being committed when the coordinator died.
        """
        records = [one.record for one in found if one.record is not None]
        if not records:
            return False
        dropped = any(one.dropped for one in found)
        groups = _held(records)
        slices = SliceTable.join([one.slices for one in found])
        record = max(records, key=lambda one: one.sequence)
        with self._database.transaction() as db:
            for table in ("versions", "manifests", "holders", "damage"):
                db.execute(f"DELETE FROM {table} WHERE set_name = ? AND number = ?", key)  # noqa: S608 - two names
            _insert_version(db, key, record, groups, dropped=dropped)
            if dropped:
                db.executemany(
                    "INSERT INTO drops (set_name, number, groups, shard) VALUES (?, ?, '[]', ?)",
                    [(*key, shard) for shard in member_names(db)],
                )
                return False
            _insert_manifest(db, key, record, slices)
            add(db, key, pieces_of(record.manifest.tensors, slices))
            for group, text in _incomplete(record, groups, slices).items():
                row = (*key, "", group, "INCOMPLETE", text, "")
                db.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            _advance_set(db, key, record)
        return True


def _numbers(db: sqlite3.Connection, name: str) -> set[int]:
    """Numbers of versions of which it is known what became of them, or that nobody committed."""
    rows = db.execute(
        "SELECT number FROM versions WHERE set_name = ? AND state != ? AND NOT EXISTS ("
        " SELECT 1 FROM damage WHERE damage.set_name = versions.set_name"
        " AND damage.number = versions.number AND damage.shard = '')",
        (name, VersionState.SEALED.value),
    )
    return {row["number"] for row in rows}


def _held(records: Sequence[VersionRecord]) -> list[str]:
    """Groups that no shard has dropped, in the order of the first record."""
    first, *others = (record.manifest.version.groups for record in records)
    return [group for group in first if all(group in groups for groups in others)]


def _insert_version(
    db: sqlite3.Connection, key: Key, record: VersionRecord, groups: Sequence[str], *, dropped: bool
) -> None:
    version = record.manifest.version
    sizes: dict[str, int] = {}
    for tensor in record.manifest.tensors:
        sizes[tensor.group] = sizes.get(tensor.group, 0) + tensor.size
    db.execute(
        "INSERT INTO versions (set_name, number, state, dropped, epoch, job, attempt, step,"
        " commit_time, move, sizes, size, held, labels, opened)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            *key,
            VersionState.COMMITTED.value,
            int(dropped),
            version.epoch,
            version.job,
            version.attempt,
            version.step,
            version.commit_time,
            record.sequence,
            json.dumps(sizes),
            0 if dropped else sum(sizes[group] for group in groups),
            json.dumps([] if dropped else list(groups)),
            json.dumps(dict(version.labels)),
        ),
    )


def _insert_manifest(
    db: sqlite3.Connection, key: Key, record: VersionRecord, slices: SliceTable
) -> None:
    content = pb.Manifest(
        tensors=messages.tensors_to_pb(record.manifest.tensors),
        tables=[table_to_pb(distinct(slices))],
        assets=messages.assets_to_pb(record.manifest.assets),
    )
    db.execute("INSERT INTO manifests VALUES (?, ?, ?)", (*key, content.SerializeToString()))


def _advance_set(db: sqlite3.Connection, key: Key, record: VersionRecord) -> None:
    """Let the set and its writers be where the version says that they were."""
    version, (name, number) = record.manifest.version, key
    if move_head(db, name, record.move):
        db.execute(
            "UPDATE sets SET job = ?, attempt = ?, keep = ? WHERE name = ?",
            (version.job, version.attempt, record.keep, name),
        )
    db.execute(
        "UPDATE sets SET next = max(next, ?), deleted = 0 WHERE name = ?", (number + 1, name)
    )
    _advance_epoch(db, name, version.epoch)
    db.execute(
        "INSERT INTO writers VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET attempt = max(attempt, excluded.attempt)",
        (name, version.job, version.attempt),
    )


def _advance_epoch(db: sqlite3.Connection, name: str, epoch: int) -> None:
    """An epoch has left its traces; if it is later than what is known, nobody knows whose it is."""
    db.execute(
        "UPDATE sets SET epoch = ?, holder = ? WHERE name = ? AND epoch < ?",
        (epoch, NOBODY, name, epoch),
    )


def _incomplete(record: VersionRecord, groups: Sequence[str], slices: SliceTable) -> dict[str, str]:
    """Groups of which shards do not know every slice, and what is missing."""
    found = {}
    for group in groups:
        wanted = [i for i, tensor in enumerate(record.manifest.tensors) if tensor.group == group]
        text = _missing(record.manifest.tensors, wanted, slices)
        if text:
            found[group] = text
    return found


def _missing(tensors: Sequence[TensorSpec], wanted: Sequence[int], slices: SliceTable) -> str:
    """What is missing of some tensors; empty: nothing."""
    places = {number: place for place, number in enumerate(wanted)}
    kept = [
        replace(source, tensor=places[source.tensor])
        for source in distinct(slices)
        if source.tensor in places
    ]
    try:
        check_coverage([tensors[number] for number in wanted], kept)
    except errors.FailedPreconditionError as error:
        return error.message
    return ""
