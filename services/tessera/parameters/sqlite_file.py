"""The coordinator's SQLite file: its tables, and transactions that are durable when they return."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.disk import database_errors
from tessera.parameters.piece import pieces_of
from tessera.weights import messages
from tessera.weights.slice_table import SliceTable

_TABLES = """
CREATE TABLE sets (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    job TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    keep INTEGER NOT NULL,
    next INTEGER NOT NULL,      -- number of the next version: only ever grows
    head INTEGER NOT NULL,      -- version of readers who name none, 0 if none
    holder TEXT NOT NULL        -- who acquired the epoch; empty: before this was noted
) STRICT;
CREATE TABLE writers (          -- the latest attempt of each job that ever wrote
    set_name TEXT NOT NULL REFERENCES sets,
    job TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (set_name, job)
) STRICT;
CREATE TABLE versions (
    set_name TEXT NOT NULL REFERENCES sets,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL,
    job TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    commit_time REAL NOT NULL DEFAULT 0,
    sizes TEXT NOT NULL,        -- JSON: bytes of each group, also of dropped ones
    held TEXT NOT NULL,         -- JSON: groups that are still there
    labels TEXT NOT NULL,       -- JSON
    opened REAL NOT NULL,       -- seconds since the epoch; 0: before this was noted
    PRIMARY KEY (set_name, number)
) STRICT;
CREATE TABLE manifests (        -- apart, so that lists of versions do not read them
    set_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,      -- tessera.api.parameters.v1.Manifest
    PRIMARY KEY (set_name, number)
) STRICT;
CREATE TABLE pins (
    set_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (set_name, number, owner)
) STRICT;
CREATE TABLE drops (            -- what shards have still to be told to forget
    id INTEGER PRIMARY KEY,
    set_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    groups TEXT NOT NULL,       -- JSON; empty: all
    shard TEXT NOT NULL
) STRICT;
PRAGMA user_version = 2;
"""
_FROM_1 = """
ALTER TABLE sets ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN opened REAL NOT NULL DEFAULT 0;
PRAGMA user_version = 2;
"""
_FROM_2 = """
CREATE TABLE store (            -- one row, as soon as it is known whose shards these are
    id TEXT NOT NULL,
    recovered REAL NOT NULL     -- when versions were last found that only shards knew; 0: never
) STRICT;
CREATE TABLE damage (           -- what shards have said of their files
    set_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    shard TEXT NOT NULL,
    tensor_group TEXT NOT NULL, -- empty: it may be any
    reason TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX damage_of_version ON damage (set_name, number);
CREATE VIEW catalogue AS        -- versions, and as JSON the groups of which something is damaged
    SELECT versions.*, (
        SELECT json_group_array(DISTINCT tensor_group) FROM damage
        WHERE damage.set_name = versions.set_name AND damage.number = versions.number
    ) AS damaged FROM versions;
PRAGMA user_version = 3;
"""
_FROM_3 = """
-- Number of the head's last move that was begun, and of the one that made it what it is.
ALTER TABLE sets ADD COLUMN moves INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sets ADD COLUMN move INTEGER NOT NULL DEFAULT 0;
UPDATE sets SET moves = next - 1, move = head;
-- When, in seconds since the epoch; 0: it is there.
ALTER TABLE sets ADD COLUMN deleted REAL NOT NULL DEFAULT 0;
-- Number of the move that made it the head; 0: before this was noted.
ALTER TABLE versions ADD COLUMN move INTEGER NOT NULL DEFAULT 0;
-- Bytes of the groups held.
ALTER TABLE versions ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE versions SET size = (
    SELECT coalesce(sum(sized.value), 0) FROM json_each(versions.sizes) AS sized
    JOIN json_each(versions.held) AS kept ON kept.value = sized.key
);
CREATE TABLE head_moves (
    set_name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    mover TEXT NOT NULL,
    rollback INTEGER NOT NULL,
    PRIMARY KEY (set_name, sequence)
) STRICT;
DROP VIEW catalogue;            -- it has the columns of when it was made
CREATE VIEW catalogue AS
    SELECT versions.*, (
        SELECT json_group_array(DISTINCT tensor_group) FROM damage
        WHERE damage.set_name = versions.set_name AND damage.number = versions.number
    ) AS damaged FROM versions;
PRAGMA user_version = 4;
"""
_FROM_4 = """
-- PieceSpec that is damaged; empty: it may be any of the version on that shard.
ALTER TABLE damage ADD COLUMN piece TEXT NOT NULL DEFAULT '';
CREATE TABLE holders (          -- which shards have the pieces of versions that are sealed
    set_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    piece TEXT NOT NULL,
    place INTEGER NOT NULL,     -- from 0, in the order in which readers ask
    shard TEXT NOT NULL,
    tensor_group TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,       -- of what lies in it
    PRIMARY KEY (set_name, number, piece, shard)
) STRICT, WITHOUT ROWID;
INSERT INTO holders
    SELECT set_name, number, found.value ->> 'piece', found.value ->> 'place',
        found.value ->> 'shard', found.value ->> 'group', found.value ->> 'size',
        found.value ->> 'digest'
    FROM manifests, json_each(holders_of(content)) AS found;
CREATE TABLE shards (           -- that belong to this store
    name TEXT PRIMARY KEY,
    draining INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO shards (name) SELECT DISTINCT shard FROM holders;
ALTER TABLE versions ADD COLUMN shards TEXT NOT NULL DEFAULT '[]'; -- JSON: that were pushed to
-- A group is damaged where shards do not know all of it, or no holder of a piece has it sound.
DROP VIEW catalogue;
CREATE VIEW catalogue AS
    SELECT versions.*, CASE WHEN NOT EXISTS (
        SELECT 1 FROM damage
        WHERE damage.set_name = versions.set_name AND damage.number = versions.number
    ) THEN '[]' ELSE (
        SELECT json_group_array(DISTINCT tensor_group) FROM (
            SELECT tensor_group FROM damage
            WHERE damage.set_name = versions.set_name AND damage.number = versions.number
                AND damage.shard = ''
            UNION SELECT min(holders.tensor_group) FROM holders LEFT JOIN damage
                ON damage.set_name = holders.set_name AND damage.number = holders.number
                AND damage.shard = holders.shard AND damage.piece IN ('', holders.piece)
                AND damage.tensor_group IN ('', holders.tensor_group)
            WHERE holders.set_name = versions.set_name AND holders.number = versions.number
            GROUP BY holders.piece
            HAVING count(DISTINCT holders.shard) = count(DISTINCT damage.shard)
        )
    ) END AS damaged FROM versions;
PRAGMA user_version = 5;
"""
_STEPS = {0: _TABLES, 1: _FROM_1, 2: _FROM_2, 3: _FROM_3, 4: _FROM_4}
"""What makes the schema of a later version out of that of each one."""


class SQLiteFile:
    """One connection; used by one thread at a time.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.create_function("holders_of", 1, _holders_of, deterministic=True)
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; on disk when it ends.

        Raises:
            ResourceExhaustedError: the disk is full (DISK_FULL).
        """
        with database_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # Of a disk that is full SQLite may have gone back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _migrate(self) -> None:
        while step := _STEPS.get(self._connection.execute("PRAGMA user_version").fetchone()[0]):
            self._connection.executescript(f"BEGIN IMMEDIATE;{step}COMMIT;")


def _holders_of(content: bytes) -> str:
    """What `holders` has of a version whose manifest was written before there were copies."""
    manifest = messages.manifest_from_pb(pb.Manifest.FromString(content))
    return json.dumps(
        [
            {
                "piece": piece.name,
                "place": place,
                "shard": shard,
                "group": piece.group,
                "size": piece.size,
                "digest": piece.digest,
            }
            for piece, shards in pieces_of(manifest.tensors, SliceTable.of(manifest.slices))
            for place, shard in enumerate(shards)
        ]
    )
