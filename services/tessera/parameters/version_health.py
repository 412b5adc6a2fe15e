"""Which committed versions are damaged: what shards have said, until they say otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from tessera.parameters.damage import Damage
from tessera.parameters.holders import pieces_on
from tessera.parameters.holding import HeldSet, HeldVersion
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.parameters.version_record import MANIFEST
from tessera.weights.manifest import VersionState


class VersionHealth:
    """Damage by version and shard; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def known(self, shard: str, sets: Mapping[str, HeldSet]) -> None:
        """All the damage that a shard knows of: what it said before counts no more.

        What it has lost without knowing it, only `compare` tells; that stays.
        """
        with self._database.transaction() as db:
            db.execute("DELETE FROM damage WHERE shard = ? AND reason != ?", (shard, LOST))
            for name, held in sets.items():
                for number, version in held.versions.items():
                    _insert(db, (name, number), shard, version.damage)

    def committed(self, name: str) -> set[int]:
        """Numbers of the versions of a set that shards should have something of."""
        with self._database.transaction() as db:
            return _committed(db, name)

    def compare(
        self, shard: str, name: str, held: HeldSet, committed: Collection[int]
    ) -> list[int]:
        """What a shard has of versions of a set; returns those that it has no record of.

        A version of which it has not all that it should have is damaged.

        Args:
            shard: which.
            name: of the set.
            held: what the shard has of it, with the pieces.
            committed: versions that were committed before the shard was asked.
        """
        unrecorded = []
        with self._database.transaction() as db:
            db.execute("DELETE FROM damage WHERE shard = ? AND set_name = ?", (shard, name))
            for number in sorted(_committed(db, name).intersection(committed)):
                version = held.versions.get(number, HeldVersion(recorded=False))
                if not version.recorded:
                    unrecorded.append(number)
                damage = [*version.damage, *_lost(db, (name, number), shard, version)]
                _insert(db, (name, number), shard, damage)
        return unrecorded

    def verified(self, name: str, number: int, shard: str, damage: Sequence[Damage]) -> None:
        """What a shard has found when it read all of a version that it knows of."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM damage WHERE shard = ? AND set_name = ? AND number = ?"
                " AND reason != ?",
                (shard, name, number, LOST),
            )
            _insert(db, (name, number), shard, damage)

    def damaged_versions(self) -> int:
        """How many committed versions are damaged."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT count(*) FROM catalogue"
                " WHERE state = ? AND dropped = 0 AND damaged != '[]'",
                (VersionState.COMMITTED.value,),
            ).fetchone()
            return int(row[0])


LOST = "VERSION_LOST"
"""Reason of damage that a shard cannot know of."""


def _insert(
    db: sqlite3.Connection, key: tuple[str, int], shard: str, damage: Sequence[Damage]
) -> None:
    """Note what is damaged of a version's tensors; its manifest is here, too, and is sent again."""
    db.executemany(
        "INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (*key, shard, one.group, one.reason, one.text, one.piece)
            for one in damage
            if one.reason != MANIFEST.reason
        ],
    )


def _lost(
    db: sqlite3.Connection, key: tuple[str, int], shard: str, held: HeldVersion
) -> list[Damage]:
    """Pieces that a shard should have, and does not know of."""
    name, number = key
    return [
        Damage(
            group=group,
            reason=LOST,
            text=f"{shard} has no piece {piece} of {name}@{number} any more: its disk has lost it",
            piece=piece,
        )
        for piece, group in pieces_on(db, key, shard)
        if piece not in held.pieces
    ]


def _committed(db: sqlite3.Connection, name: str) -> set[int]:
    rows = db.execute(
        "SELECT number FROM versions WHERE set_name = ? AND state = ? AND dropped = 0",
        (name, VersionState.COMMITTED.value),
    )
    return {row["number"] for row in rows}
