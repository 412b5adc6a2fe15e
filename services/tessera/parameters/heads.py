"""The heads of sets: what readers get who name no version, and how it came to be that.

Each move of a set's head has a number of its own, which shards keep beside what it made the head:
the highest one counts, so that a store that was lost knows of rollbacks, too.
"""

from __future__ import annotations

import sqlite3
import time

from tessera import errors
from tessera.parameters.rows import readable_version, set_row
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.weights.manifest import HeadMove, Version

MOVES_KEPT = 200
"""Of each set."""


class Heads:
    """Moves of heads; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def head(self, name: str) -> tuple[Version | None, int]:
        """The head of a set, if it has one, and the number of the move that made it that."""
        with self._database.transaction() as db:
            row = set_row(db, name)
            version = readable_version(db, name, row["head"]) if row["head"] else None
            return version, int(row["move"])

    def begin(self, name: str, number: int, mover: str) -> tuple[HeadMove, bool]:
        """A rollback that shards are to keep before it counts, and whether there is any to do.

        Raises:
            NotFoundError: there is no such version any more.
            FailedPreconditionError: something of it is damaged (VERSION_DAMAGED).
        """
        with self._database.transaction() as db:
            version = readable_version(db, name, number)
            if version.damaged_groups:
                raise errors.FailedPreconditionError(
                    f"{name}@{number} is damaged: {', '.join(version.damaged_groups)}; roll back to"
                    " another version, `tessera versions` shows which are good",
                    reason="VERSION_DAMAGED",
                )
            row = set_row(db, name)
            new = row["head"] != number
            if not new and (moves := _moves(db, name, 1)):
                return moves[0], False
            return HeadMove(
                sequence=next_move(db, name) if new else row["move"],
                version=number,
                time=time.time(),
                mover=mover,
                rollback=True,
            ), new

    def finish(self, name: str, move: HeadMove) -> None:
        """Shards have it: from now on it counts, unless a later one does."""
        with self._database.transaction() as db:
            readable_version(db, name, move.version)
            move_head(db, name, move)

    def found(self, name: str, move: HeadMove) -> bool:
        """A shard knows of a rollback; returns whether it is the last move, and was not known."""
        with self._database.transaction() as db:
            try:
                readable_version(db, name, move.version)
            except errors.NotFoundError:
                return False
            return move_head(db, name, move)

    def moves(self, name: str) -> list[HeadMove]:
        """What the head was, newest first."""
        with self._database.transaction() as db:
            set_row(db, name)
            return _moves(db, name, MOVES_KEPT)


def next_move(db: sqlite3.Connection, name: str) -> int:
    """A number for a move that begins."""
    db.execute("UPDATE sets SET moves = moves + 1 WHERE name = ?", (name,))
    return int(set_row(db, name)["moves"])


def move_head(db: sqlite3.Connection, name: str, move: HeadMove) -> bool:
    """Let a version be the head, unless a later move has been; returns whether it is."""
    moved = db.execute(
        "UPDATE sets SET head = ?, move = ?, moves = max(moves, ?) WHERE name = ? AND move < ?",
        (move.version, move.sequence, move.sequence, name, move.sequence),
    )
    if moved.rowcount != 1:
        return False
    db.execute(
        "INSERT INTO head_moves VALUES (?, ?, ?, ?, ?, ?)",
        (name, move.sequence, move.version, move.time, move.mover, int(move.rollback)),
    )
    db.execute(
        "DELETE FROM head_moves WHERE set_name = ? AND sequence <= ("
        " SELECT sequence FROM head_moves WHERE set_name = ?"
        " ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
        (name, name, MOVES_KEPT),
    )
    return True


def _moves(db: sqlite3.Connection, name: str, limit: int) -> list[HeadMove]:
    rows = db.execute(
        "SELECT * FROM head_moves WHERE set_name = ? ORDER BY sequence DESC LIMIT ?", (name, limit)
    )
    return [
        HeadMove(
            sequence=row["sequence"],
            version=row["number"],
            time=row["time"],
            mover=row["mover"],
            rollback=bool(row["rollback"]),
        )
        for row in rows
    ]
