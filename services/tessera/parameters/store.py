"""What the coordinator knows, and the rules that every change keeps.

Each method is one durable transaction. Writers are told apart by their epoch: a call that carries
another one than the set's is FENCED and changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.deletion import Deletion
from tessera.parameters.heads import Heads, move_head, next_move
from tessera.parameters.holders import Holders, add
from tessera.parameters.lease import VersionLeases, renew
from tessera.parameters.members import Members, member_names
from tessera.parameters.piece import PieceSpec
from tessera.parameters.quota import DEFAULT, TenantQuota, names_of, tenant_of
from tessera.parameters.recovery import Recovery
from tessera.parameters.rows import (
    UNFINISHED,
    make_set,
    readable_version,
    set_row,
    unfinished_versions,
    version_of,
    version_row,
)
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.parameters.version_health import VersionHealth
from tessera.parameters.version_reader import VersionReader
from tessera.parameters.version_record import VersionRecord
from tessera.parameters.version_retention import VersionRetention
from tessera.parameters.writer import Writer, fenced, latest_epoch, own
from tessera.weights import messages
from tessera.weights.manifest import Grant, Manifest, SliceSpec, TensorSpec, Version, VersionState
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_to_pb
from tessera.weights.tensor_list import group_sizes


class Store:
    """The writing side.

    Args:
        path: of the coordinator's file.
        shards: names of the shards that are expected at first.
        cap: bytes that all versions together may take; None: no limit.
        quota: of each tenant.

    Attributes:
        reader: the reading side of the same file.
        retention: which of its versions stay.
        health: which of them are damaged.
        recovery: what shards know and it does not.
        folder: that its file is in.
        heads: what readers get who name no version.
        leases: of versions that are being written.
        deletion: ends sets.
        holders: which shards have which pieces.
        members: which shards there are.
    """

    def __init__(
        self,
        path: Path,
        shards: Sequence[str],
        cap: int | None = None,
        quota: TenantQuota = DEFAULT,
    ) -> None:
        self._database = SQLiteFile(path)
        self._quota = quota
        self.folder = path.parent
        self.reader = VersionReader(self._database)
        self.health = VersionHealth(self._database)
        self.members = Members(self._database)
        self.members.join(shards)
        self.recovery = Recovery(self._database)
        self.retention = VersionRetention(self._database, cap, quota)
        self.heads = Heads(self._database)
        self.holders = Holders(self._database)
        self.deletion = Deletion(self._database, self.retention)
        self.leases = VersionLeases(self._database, self.retention)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def acquire(self, name: str, job: str, attempt: int, keep: int, holder: str) -> Grant:
        """Make an attempt of a job the writer of a set; what others had open is given up.

        Raises:
            FailedPreconditionError: a later attempt of the job has written (FENCED).
            ResourceExhaustedError: the tenant has too many sets (QUOTA_EXCEEDED).
        """
        with self._database.transaction() as db:
            found = db.execute("SELECT * FROM sets WHERE name = ?", (name,)).fetchone()
            if found is None or found["deleted"]:
                self._check(db, "sets", name, _SETS)
                make_set(db, name, holder)
                db.execute("UPDATE sets SET deleted = 0 WHERE name = ?", (name,))
            latest = db.execute(
                "SELECT attempt FROM writers WHERE set_name = ? AND job = ?", (name, job)
            ).fetchone()
            if latest is not None and attempt < latest["attempt"]:
                raise errors.FailedPreconditionError(
                    f"attempt {attempt} of {job} may not write {name}: attempt {latest['attempt']}"
                    " has taken over",
                    reason="FENCED",
                )
            db.execute(
                "INSERT INTO writers VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET attempt = ?",
                (name, job, attempt, attempt),
            )
            db.execute(
                "UPDATE sets SET epoch = max(epoch + 1, ?), job = ?, attempt = ?, holder = ?,"
                " keep = CASE WHEN ? > 0 THEN ? ELSE keep END WHERE name = ?",
                (latest_epoch(), job, attempt, holder, keep, keep, name),
            )
            self._abort_unfinished(db, name)
            epoch = int(set_row(db, name)["epoch"])
            return Grant(set=name, epoch=epoch, resume=_resume(db, name, job))

    def check_open(self, writer: Writer, size: int) -> None:
        """Raise unless a version of so many bytes may be begun; raises as `open` does."""
        with self._database.transaction() as db:
            fenced(db, writer)
            self._admit(db, writer.set, size)

    def open(
        self,
        writer: Writer,
        step: int,
        tensors: Sequence[TensorSpec],
        assets: Mapping[str, bytes],
        labels: Mapping[str, str],
        *,
        shards: Sequence[str] = (),
    ) -> int:
        """Begin a version and return its number; the writer's unfinished one is given up.

        `shards` are those that its slices will be pushed to.

        Raises:
            FailedPreconditionError: somebody else writes the set now (FENCED).
            ResourceExhaustedError: the tenant has too many versions, or there is no room for it
                (QUOTA_EXCEEDED, DISK_CAP).
        """
        sizes, name = group_sizes(tensors), writer.set
        with self._database.transaction() as db:
            found = fenced(db, writer)
            self._abort_unfinished(db, name)
            self._admit(db, name, sum(sizes.values()))
            number = int(found["next"])
            db.execute("UPDATE sets SET next = next + 1 WHERE name = ?", (name,))
            db.execute(
                "INSERT INTO versions (set_name, number, state, epoch, job, attempt, step, sizes,"
                " size, held, labels, opened, shards)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    number,
                    VersionState.OPEN.value,
                    writer.epoch,
                    found["job"],
                    found["attempt"],
                    step,
                    json.dumps(sizes),
                    sum(sizes.values()),
                    json.dumps(list(sizes)),
                    json.dumps(dict(labels)),
                    time.time(),
                    json.dumps(list(shards)),
                ),
            )
            _insert_content(db, name, number, tensors, assets)
            return number

    def unsealed(
        self, writer: Writer, number: int
    ) -> tuple[Sequence[TensorSpec], list[str]] | None:
        """The tensors of an open version, and the shards that are pushed to; None if it is sealed.

        One that an earlier build had opened may have been pushed to any shard.
        """
        with self._database.transaction() as db:
            row = own(db, writer, number)
            if row["state"] != VersionState.OPEN.value:
                return None
            content = _content(db, writer.set, number)
            shards = json.loads(row["shards"]) or member_names(db)
            return messages.tensors_from_pb(content.tensors), shards

    def seal(
        self,
        writer: Writer,
        number: int,
        slices: Sequence[SliceSpec],
        pieces: Sequence[tuple[PieceSpec, Sequence[str]]],
    ) -> None:
        """Note where the slices lie; from now on the version can be committed.

        What the tenant may give up for it goes now, when its bytes are there.

        Args:
            writer: of the set.
            number: of the version.
            slices: each one once.
            pieces: that they lie in, and the shards that have them.
        """
        name = writer.set
        with self._database.transaction() as db:
            if own(db, writer, number)["state"] != VersionState.OPEN.value:
                return
            content = _content(db, name, number)
            table = SliceTable.of(slices)
            content.tables.append(table_to_pb(table))
            db.execute(
                "UPDATE manifests SET content = ? WHERE set_name = ? AND number = ?",
                (content.SerializeToString(), name, number),
            )
            add(db, (name, number), pieces)
            self.retention.make_room(db, name, table.size)
            _set_state(db, name, number, VersionState.SEALED)
            renew(db, name, number)

    def record(self, writer: Writer, number: int) -> VersionRecord | None:
        """What shards are to keep of a sealed version before it is committed; None if it is.

        It says which move of the head it is: the last, unless a rollback comes meanwhile.

        Raises:
            FailedPreconditionError: it is not sealed (NOT_SEALED), or the writer is FENCED.
        """
        name = writer.set
        with self._database.transaction() as db:
            row = own(db, writer, number)
            if row["state"] == VersionState.COMMITTED.value:
                return None
            if row["state"] != VersionState.SEALED.value:
                raise errors.FailedPreconditionError(
                    f"{name}@{number} is not sealed; seal it first", reason="NOT_SEALED"
                )
            version = replace(version_of(row), state=VersionState.COMMITTED)
            version = replace(version, commit_time=time.time())
            return _record(db, version, next_move(db, name))

    def committed_record(self, name: str, number: int) -> VersionRecord:
        """What shards are to keep of a committed version."""
        with self._database.transaction() as db:
            version = readable_version(db, name, number)
            return _record(db, version, version_row(db, name, number)["move"])

    def sealed_size(self, name: str, number: int) -> tuple[int, int]:
        """Number of slices and bytes of a version."""
        with self._database.transaction() as db:
            content = _content(db, name, number)
            sizes = [source.size for source in content.slices]
            sizes += (size for table in content.tables for size in table.size)
            return len(sizes), sum(sizes)

    def commit(self, writer: Writer, number: int, record: VersionRecord | None) -> Version:
        """Make a sealed version the head, unless the head was moved since it was recorded.

        Args:
            writer: of the set.
            number: of the version.
            record: what shards keep of it; None: it was committed before, which is harmless.
        """
        name = writer.set
        with self._database.transaction() as db:
            row = own(db, writer, number)
            if record is not None and row["state"] == VersionState.SEALED.value:
                commit_time = record.manifest.version.commit_time
                db.execute(
                    "UPDATE versions SET state = ?, commit_time = ?, move = ?"
                    " WHERE set_name = ? AND number = ?",
                    (VersionState.COMMITTED.value, commit_time, record.sequence, name, number),
                )
                move_head(db, name, record.move)
                row = version_row(db, name, number)
            return version_of(row)

    def abort(self, writer: Writer, number: int) -> None:
        """Give an unfinished version up; doing it twice is harmless."""
        name = writer.set
        with self._database.transaction() as db:
            fenced(db, writer)
            row = version_row(db, name, number)
            if row["state"] == VersionState.COMMITTED.value:
                raise errors.FailedPreconditionError(
                    f"{name}@{number} is committed and stays", reason="COMMITTED"
                )
            if row["state"] in UNFINISHED:
                self.retention.give_up(db, name, number)

    def _admit(self, db: sqlite3.Connection, name: str, size: int) -> None:
        """Raise unless the tenant of a set may have one more version, of `size` bytes."""
        self._check(db, "versions", name, _HELD, VersionState.COMMITTED.value)
        self._check(db, "open_versions", name, _OPEN, *UNFINISHED)
        self.retention.reserve(db, name, size)

    def _check(
        self, db: sqlite3.Connection, what: str, name: str, query: str, *states: str
    ) -> None:
        """Raise unless the tenant of a set may have one more of what the query counts."""
        tenant = tenant_of(name)
        used = db.execute(query, (*names_of(tenant), *states)).fetchone()[0]
        self._quota.check(what, tenant, used)

    def _abort_unfinished(self, db: sqlite3.Connection, name: str) -> None:
        for row in unfinished_versions(db, name):
            self.retention.give_up(db, name, row["number"])


_SETS = "SELECT count(*) FROM sets WHERE name > ? AND name < ? AND deleted = 0"
_HELD = (
    "SELECT count(*) FROM versions WHERE set_name > ? AND set_name < ?"
    " AND state = ? AND dropped = 0"
)
_OPEN = "SELECT count(*) FROM versions WHERE set_name > ? AND set_name < ? AND state IN (?, ?)"


def _set_state(db: sqlite3.Connection, name: str, number: int, state: VersionState) -> None:
    db.execute(
        "UPDATE versions SET state = ? WHERE set_name = ? AND number = ?",
        (state.value, name, number),
    )


def _insert_content(
    db: sqlite3.Connection,
    name: str,
    number: int,
    tensors: Sequence[TensorSpec],
    assets: Mapping[str, bytes],
) -> None:
    content = pb.Manifest(
        tensors=messages.tensors_to_pb(tensors),
        assets=messages.assets_to_pb(assets),
    )
    row = (name, number, content.SerializeToString())
    db.execute("INSERT INTO manifests VALUES (?, ?, ?)", row)


def _content(db: sqlite3.Connection, name: str, number: int) -> pb.Manifest:
    row = db.execute(
        "SELECT content FROM manifests WHERE set_name = ? AND number = ?", (name, number)
    ).fetchone()
    if row is None:
        raise errors.NotFoundError(f"{name}@{number} was dropped", reason="VERSION_DROPPED")
    return pb.Manifest.FromString(row["content"])


def _record(db: sqlite3.Connection, version: Version, sequence: int) -> VersionRecord:
    content = _content(db, version.set, version.number)
    manifest = Manifest(
        version=version,
        tensors=messages.tensors_from_pb(content.tensors),
        slices=(),
        assets=messages.assets_from_pb(content.assets),
    )
    keep = int(set_row(db, version.set)["keep"])
    return VersionRecord(manifest=manifest, keep=keep, sequence=sequence)


def _resume(db: sqlite3.Connection, name: str, job: str) -> Version | None:
    """The newest version that the job committed, that still holds every group, and all intact."""
    for row in db.execute(
        "SELECT * FROM catalogue WHERE set_name = ? AND job = ? AND state = ? AND dropped = 0"
        " ORDER BY number DESC",
        (name, job, VersionState.COMMITTED.value),
    ):
        version = version_of(row)
        if set(version.groups) == set(json.loads(row["sizes"])) and not version.damaged_groups:
            return version
    return None
