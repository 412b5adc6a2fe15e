"""Which shards have which pieces, and which of them are in order: what copies are made by."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from tessera.parameters.piece import HeldPiece, PieceSpec
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.weights.manifest import VersionState

Key = tuple[str, int]
"""Set and version."""


class Holders:
    """Holders of sealed and committed versions; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def of(self, name: str, number: int) -> dict[str, tuple[str, ...]]:
        """Shards by piece of a version, in the order in which readers ask: sound ones first."""
        return {
            one.piece.name: (*one.sound, *(s for s in one.holders if s in one.damaged))
            for one in self.pieces((name, number))
        }

    def pieces(self, key: Key) -> list[HeldPiece]:
        """All pieces of a version."""
        with self._database.transaction() as db:
            return _pieces(db, key)

    def lacking(self, counted: Collection[str], wanted: int) -> list[Key]:
        """Committed versions of which a piece has too few sound copies: heads first, then newer.

        Args:
            counted: shards whose copies count.
            wanted: shards that should have each piece.
        """
        state = VersionState.COMMITTED.value
        with self._database.transaction() as db:
            rows = db.execute(_LACKING, (json.dumps(sorted(counted)), state, wanted)).fetchall()
            return [(row["set_name"], row["number"]) for row in rows]

    def copied(self, key: Key, pieces: Iterable[PieceSpec], shard: str) -> None:
        """A shard has pieces now, and has them sound."""
        with self._database.transaction() as db:
            for piece in pieces:
                if _exists(db, key, piece.name):
                    add(db, key, [(piece, (shard,))])
                    db.execute(
                        "DELETE FROM damage WHERE set_name = ? AND number = ? AND shard = ?"
                        " AND piece = ?",
                        (*key, shard, piece.name),
                    )

    def complete(self, key: Key, shard: str) -> None:
        """A shard has all that it should of a version: nothing is damaged or lost there."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM damage WHERE set_name = ? AND number = ? AND shard = ?", (*key, shard)
            )


DAMAGE_OF_HOLDER = """
LEFT JOIN damage ON damage.set_name = holders.set_name AND damage.number = holders.number
    AND damage.shard = holders.shard AND damage.piece IN ('', holders.piece)
    AND damage.tensor_group IN ('', holders.tensor_group)
"""
"""What is damaged of a piece on the shard of a row of `holders`."""

_LACKING = f"""
SELECT DISTINCT set_name, number FROM (
    SELECT holders.set_name, holders.number,
        count(DISTINCT CASE WHEN damage.shard IS NULL THEN live.value END) AS sound,
        count(damage.shard) AS damaged
    FROM holders
    LEFT JOIN json_each(?) AS live ON live.value = holders.shard
    {DAMAGE_OF_HOLDER}
    GROUP BY holders.set_name, holders.number, holders.piece
) JOIN versions USING (set_name, number) JOIN sets ON name = set_name
WHERE state = ? AND dropped = 0 AND (sound < ? OR damaged)
ORDER BY number = head DESC, commit_time DESC
"""  # noqa: S608 - a constant


def add(
    db: sqlite3.Connection, key: Key, pieces: Iterable[tuple[PieceSpec, Sequence[str]]]
) -> None:
    """Note further holders of pieces."""
    for piece, shards in pieces:
        (place,) = db.execute(
            "SELECT coalesce(max(place) + 1, 0) FROM holders"
            " WHERE set_name = ? AND number = ? AND piece = ?",
            (*key, piece.name),
        ).fetchone()
        db.executemany(
            "INSERT INTO holders VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (*key, piece.name, place + at, shard, piece.group, piece.size, piece.digest)
                for at, shard in enumerate(shards)
            ],
        )


def forget(db: sqlite3.Connection, key: Key, groups: Sequence[str]) -> None:
    """Nobody has these groups (none: any) of a version any more."""
    db.executemany(
        "DELETE FROM holders WHERE set_name = ? AND number = ? AND ? IN ('', tensor_group)",
        [(*key, group) for group in groups or ("",)],
    )


def pieces_on(db: sqlite3.Connection, key: Key, shard: str) -> list[tuple[str, str]]:
    """Pieces of a version that a shard should have, and their groups."""
    rows = db.execute(
        "SELECT piece, tensor_group FROM holders WHERE set_name = ? AND number = ? AND shard = ?",
        (*key, shard),
    )
    return [(row["piece"], row["tensor_group"]) for row in rows]


def _exists(db: sqlite3.Connection, key: Key, piece: str) -> bool:
    """Whether a piece has not been dropped meanwhile."""
    row = db.execute(
        "SELECT 1 FROM holders WHERE set_name = ? AND number = ? AND piece = ?", (*key, piece)
    ).fetchone()
    return row is not None


def _pieces(db: sqlite3.Connection, key: Key) -> list[HeldPiece]:
    rows: Mapping[str, list[sqlite3.Row]] = defaultdict(list)
    for row in db.execute(
        "SELECT * FROM holders WHERE set_name = ? AND number = ? ORDER BY piece, place", key
    ):
        rows[row["piece"]].append(row)
    damage = db.execute(
        "SELECT shard, piece, tensor_group FROM damage WHERE set_name = ? AND number = ?", key
    ).fetchall()
    found = []
    for name, of_piece in rows.items():
        group = of_piece[0]["tensor_group"]
        holders = tuple(row["shard"] for row in of_piece)
        damaged = frozenset(
            row["shard"]
            for row in damage
            if row["piece"] in {"", name} and row["tensor_group"] in {"", group}
        )
        piece = PieceSpec(
            name=name, group=group, size=of_piece[0]["size"], digest=of_piece[0]["digest"]
        )
        found.append(HeldPiece(piece=piece, holders=holders, damaged=damaged))
    return found
