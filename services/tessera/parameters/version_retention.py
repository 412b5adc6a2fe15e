"""Which versions stay: what is pinned, what makes room, and what shards have yet to forget."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.parameters.retention import Drop, protected_bytes, retain
from tessera.parameters.rows import held_versions, readable_version, version_row
from tessera.parameters.sqlite_file import SQLiteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDrop:
    """A shard has still to forget these groups (none: all) of a version."""

    id: int
    set: str
    number: int
    groups: tuple[str, ...]
    shard: str


class VersionRetention:
    """Pins and drops; each method without a connection is one transaction.

    Args:
        database: the coordinator's file.
        shards: names of the shards.
        cap: bytes that all versions together may take; None: no limit.
    """

    def __init__(self, database: SQLiteFile, shards: Sequence[str], cap: int | None) -> None:
        self._database = database
        self._shards = tuple(shards)
        self._cap = cap

    def pin(self, name: str, number: int, owner: str, ttl: float) -> None:
        """Keep a version whole for `ttl` seconds."""
        with self._database.transaction() as db:
            readable_version(db, name, number)
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
        fixed = protected_bytes(held_versions(db))
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
        drops = retain(held_versions(db), keep, self._cap, needed)
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
