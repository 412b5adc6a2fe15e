"""What readers see of the coordinator's store, what is pinned, and what is forgotten."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.database import Database
from tessera.parameters.retention import Drop, Held, protected_bytes, retain
from tessera.parameters.rows import set_row, version_of, version_row
from tessera.weights import messages
from tessera.weights.manifest import Manifest, ParameterSet, TensorSpec, Version, VersionState

_COMMITTED = VersionState.COMMITTED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDrop:
    """A shard has still to forget these groups (none: all) of a version."""

    id: int
    set: str
    number: int
    groups: tuple[str, ...]
    shard: str


class VersionReader:
    """Reading, pins and retention; each method is one transaction.

    Args:
        database: the coordinator's file.
        shards: names of the shards.
        cap: bytes that all versions together may take; None: no limit.
    """

    def __init__(self, database: Database, shards: Sequence[str], cap: int | None) -> None:
        self._database = database
        self._shards = tuple(shards)
        self._cap = cap

    def head(self, name: str) -> Version | None:
        """The newest committed version of a set; None if it has none."""
        with self._database.transaction() as db:
            number = set_row(db, name)["head"]
            return version_of(version_row(db, name, number)) if number else None

    def manifest(self, name: str, number: int, groups: Sequence[str], min_version: int) -> Manifest:
        """A committed version for reading; number 0 is the newest, no groups all that it holds."""
        with self._database.transaction() as db:
            head = int(set_row(db, name)["head"])
            number = number or head
            if not number:
                raise errors.NotFoundError(
                    f"{name} has no committed version yet", reason="VERSION_NOT_FOUND"
                )
            if number < min_version:
                raise errors.FailedPreconditionError(
                    f"{name} is at version {number}, older than the {min_version} asked for",
                    reason="TOO_OLD",
                    retry_after=1.0,
                )
            version = _readable(db, name, number)
            sizes = json.loads(version_row(db, name, number)["sizes"])
            _check_groups(version, sizes, groups)
            row = db.execute(
                "SELECT content FROM manifests WHERE set_name = ? AND number = ?", (name, number)
            ).fetchone()
        return _selected(version, pb.Manifest.FromString(row["content"]), groups)

    def versions(self, name: str, before: int, limit: int) -> list[Version]:
        """Committed versions with numbers below `before` (0: any), newest first."""
        with self._database.transaction() as db:
            set_row(db, name)
            rows = db.execute(
                "SELECT * FROM versions WHERE set_name = ? AND state = ? AND dropped = 0"
                " AND (? = 0 OR number < ?) ORDER BY number DESC LIMIT ?",
                (name, _COMMITTED, before, before, limit),
            ).fetchall()
            return [version_of(row) for row in rows]

    def sets(self, tenant: str, after: str, limit: int) -> list[ParameterSet]:
        """Sets of a tenant (empty: of all) whose names follow `after`, by name."""
        prefix = f"{tenant}/" if tenant else ""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT name, head FROM sets WHERE name > ? AND substr(name, 1, ?) = ?"
                " ORDER BY name LIMIT ?",
                (after, len(prefix), prefix, limit),
            ).fetchall()
            return [_summary(db, row["name"], row["head"]) for row in rows]

    def pin(self, name: str, number: int, owner: str, ttl: float) -> None:
        """Keep a version whole for `ttl` seconds."""
        with self._database.transaction() as db:
            _readable(db, name, number)
            expires = time.time() + ttl
            db.execute(
                "INSERT INTO pins VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET expires = ?",
                (name, number, owner, expires, expires),
            )

    def release(self, name: str, number: int, owner: str) -> None:
        """Give a pin back; doing it twice is harmless."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM pins WHERE set_name = ? AND number = ? AND owner = ?",
                (name, number, owner),
            )

    def retain(self) -> list[Drop]:
        """Drop what may go by the sets' `keep` and the cap; returns what was dropped."""
        with self._database.transaction() as db:
            return self._retain(db, 0)

    def make_room(self, db: sqlite3.Connection, needed: int) -> None:
        """Drop until `needed` more bytes fit under the cap.

        Raises:
            ResourceExhaustedError: they cannot (reason DISK_CAP).
        """
        if self._cap is None:
            return
        fixed = protected_bytes(_held(db))
        if fixed + needed > self._cap:
            raise errors.ResourceExhaustedError(
                f"the version takes {needed} bytes; newest and pinned versions take {fixed} of the"
                f" {self._cap} that the disk cap allows; raise the cap or publish less",
                reason="DISK_CAP",
                metadata={"needed": str(needed), "held": str(fixed), "cap": str(self._cap)},
            )
        self._retain(db, needed)

    def pending_drops(self) -> list[PendingDrop]:
        """What shards have still to be told to forget, oldest first."""
        with self._database.transaction() as db:
            return [
                PendingDrop(
                    id=row["id"],
                    set=row["set_name"],
                    number=row["number"],
                    groups=tuple(json.loads(row["groups"])),
                    shard=row["shard"],
                )
                for row in db.execute("SELECT * FROM drops ORDER BY id").fetchall()
            ]

    def dropped(self, drop: PendingDrop) -> None:
        """A shard has done it."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM drops WHERE id = ?", (drop.id,))

    def forget(self, db: sqlite3.Connection, name: str, number: int, groups: Sequence[str]) -> None:
        """Note for every shard that it has to forget groups (none: all) of a version."""
        if not groups:
            db.execute("DELETE FROM manifests WHERE set_name = ? AND number = ?", (name, number))
        db.executemany(
            "INSERT INTO drops (set_name, number, groups, shard) VALUES (?, ?, ?, ?)",
            [(name, number, json.dumps(list(groups)), shard) for shard in self._shards],
        )

    def _retain(self, db: sqlite3.Connection, needed: int) -> list[Drop]:
        db.execute("DELETE FROM pins WHERE expires <= ?", (time.time(),))
        keep = {row["name"]: row["keep"] for row in db.execute("SELECT name, keep FROM sets")}
        drops = retain(_held(db), keep, self._cap, needed)
        for drop in drops:
            row = version_row(db, drop.set, drop.number)
            held = (
                [] if drop.whole else [g for g in json.loads(row["held"]) if g not in drop.groups]
            )
            db.execute(
                "UPDATE versions SET held = ?, dropped = ? WHERE set_name = ? AND number = ?",
                (json.dumps(held), int(drop.whole), drop.set, drop.number),
            )
            self.forget(db, drop.set, drop.number, () if drop.whole else drop.groups)
        return drops


def _held(db: sqlite3.Connection) -> list[Held]:
    pinned = {
        (row["set_name"], row["number"])
        for row in db.execute("SELECT set_name, number FROM pins WHERE expires > ?", (time.time(),))
    }
    held = []
    for row in db.execute(
        "SELECT * FROM versions WHERE state = ? AND dropped = 0", (_COMMITTED,)
    ).fetchall():
        sizes = json.loads(row["sizes"])
        held.append(
            Held(
                set=row["set_name"],
                number=row["number"],
                commit_time=row["commit_time"],
                pinned=(row["set_name"], row["number"]) in pinned,
                groups={group: sizes[group] for group in json.loads(row["held"])},
            )
        )
    return held


def _readable(db: sqlite3.Connection, name: str, number: int) -> Version:
    row = version_row(db, name, number)
    if row["dropped"]:
        raise errors.NotFoundError(
            f"{name}@{number} was dropped to make room; `tessera versions` lists what is held",
            reason="VERSION_DROPPED",
        )
    if row["state"] != _COMMITTED:
        raise errors.NotFoundError(
            f"{name}@{number} is {row['state']}, not committed", reason="VERSION_NOT_FOUND"
        )
    return version_of(row)


def _check_groups(version: Version, sizes: dict[str, int], groups: Sequence[str]) -> None:
    for group in groups:
        if group not in sizes:
            raise errors.NotFoundError(
                f"{version.set}@{version.number} has no group {group!r}, only {', '.join(sizes)}",
                reason="GROUP_NOT_FOUND",
            )
        if group not in version.groups:
            raise errors.NotFoundError(
                f"group {group!r} of {version.set}@{version.number} was dropped to make room;"
                " newer versions may have it",
                reason="GROUP_DROPPED",
            )


def _selected(version: Version, content: pb.Manifest, groups: Sequence[str]) -> Manifest:
    """Only the tensors and slices of some groups; slices count in the tensors that are left."""
    wanted = set(groups or version.groups)
    renumbered: dict[int, int] = {}
    tensors: list[TensorSpec] = []
    for index, tensor in enumerate(content.tensors):
        if tensor.group in wanted:
            renumbered[index] = len(tensors)
            tensors.append(messages.tensor_from_pb(tensor))
    slices = []
    for source in content.slices:
        if source.tensor in renumbered:
            source.tensor = renumbered[source.tensor]
            slices.append(messages.slice_from_pb(source))
    return Manifest(
        version=version,
        tensors=tuple(tensors),
        slices=tuple(slices),
        assets=messages.assets_from_pb(content.assets),
    )


def _summary(db: sqlite3.Connection, name: str, head: int) -> ParameterSet:
    held = [version for version in _held(db) if version.set == name]
    return ParameterSet(
        name=name,
        head=version_of(version_row(db, name, head)) if head else None,
        versions=len(held),
        size=sum(version.size for version in held),
    )
