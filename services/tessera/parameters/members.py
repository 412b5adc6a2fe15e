"""Which shards belong to the store: expected, joined, or being drained."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from tessera import errors
from tessera.parameters.holders import DAMAGE_OF_HOLDER
from tessera.parameters.sqlite_file import SQLiteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A shard of the store.

    Attributes:
        name: of it.
        draining: it takes nothing new, and what it has is copied to others.
        pieces: that it has.
        needed: those of them that no other shard has sound.
        size: bytes of its pieces.
    """

    name: str
    draining: bool
    pieces: int
    needed: int
    size: int


class Members:
    """The shards of the store; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def join(self, names: Iterable[str]) -> None:
        """Shards belong to the store from now on."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT INTO shards (name) VALUES (?) ON CONFLICT DO NOTHING",
                [(name,) for name in names],
            )

    def names(self) -> dict[str, bool]:
        """All of them, by name; whether they are draining."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT name, draining FROM shards ORDER BY name").fetchall()
            return {row["name"]: bool(row["draining"]) for row in rows}

    def drain(self, name: str, *, draining: bool) -> None:
        """Let a shard take nothing new, or take part again.

        Raises:
            NotFoundError: there is none of that name (SHARD_NOT_FOUND).
            FailedPreconditionError: it is the last one that takes anything (LAST_SHARD).
        """
        with self._database.transaction() as db:
            _row(db, name)
            others = db.execute(
                "SELECT count(*) FROM shards WHERE draining = 0 AND name != ?", (name,)
            ).fetchone()[0]
            if draining and not others:
                raise errors.FailedPreconditionError(
                    f"{name} is the only shard that is not drained; add one first",
                    reason="LAST_SHARD",
                )
            db.execute("UPDATE shards SET draining = ? WHERE name = ?", (int(draining), name))

    def remove(self, name: str) -> None:
        """Forget a shard; what it had lies on others.

        Raises:
            NotFoundError: there is none of that name (SHARD_NOT_FOUND).
            FailedPreconditionError: it is not draining (NOT_DRAINING), or something of a version
                lies nowhere else (SHARD_NEEDED).
        """
        with self._database.transaction() as db:
            row = _row(db, name)
            if not row["draining"]:
                raise errors.FailedPreconditionError(
                    f"{name} takes new versions; drain it first", reason="NOT_DRAINING"
                )
            needed = db.execute(_NEEDED, (name,)).fetchone()[0]
            if needed:
                raise errors.FailedPreconditionError(
                    f"{needed} pieces lie on {name} alone; wait until it is drained, or delete"
                    " their sets",
                    reason="SHARD_NEEDED",
                )
            for table in ("holders", "damage", "drops"):
                db.execute(f"DELETE FROM {table} WHERE shard = ?", (name,))  # noqa: S608 - three names
            db.execute("DELETE FROM shards WHERE name = ?", (name,))

    def list(self) -> list[Member]:
        """All of them, by name, and what they have."""
        with self._database.transaction() as db:
            return [
                Member(
                    name=row["name"],
                    draining=bool(row["draining"]),
                    pieces=row["pieces"],
                    needed=db.execute(_NEEDED, (row["name"],)).fetchone()[0],
                    size=row["size"],
                )
                for row in db.execute(_LIST).fetchall()
            ]


_LIST = """
SELECT name, draining, count(holders.piece) AS pieces, coalesce(sum(holders.size), 0) AS size
FROM shards LEFT JOIN holders ON shard = name GROUP BY name ORDER BY name
"""
_NEEDED = f"""
SELECT count(*) FROM holders AS ours WHERE ours.shard = ? AND NOT EXISTS (
    SELECT 1 FROM holders JOIN shards ON name = holders.shard AND draining = 0
    {DAMAGE_OF_HOLDER}
    WHERE holders.set_name = ours.set_name AND holders.number = ours.number
        AND holders.piece = ours.piece AND holders.shard != ours.shard AND damage.shard IS NULL
)
"""  # noqa: S608 - a constant


def member_names(db: sqlite3.Connection) -> list[str]:
    """Names of all shards of the store."""
    return [row["name"] for row in db.execute("SELECT name FROM shards ORDER BY name")]


def _row(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM shards WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise errors.NotFoundError(
            f"there is no shard {name!r}; `tessera shards` lists them", reason="SHARD_NOT_FOUND"
        )
    return row
