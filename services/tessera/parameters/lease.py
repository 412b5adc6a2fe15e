"""Versions that are being written: how long, without a sign of their writer."""

from __future__ import annotations

import sqlite3
import time

from tessera.parameters.rows import UNFINISHED
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.parameters.version_retention import VersionRetention
from tessera.parameters.writer import Writer, own
from tessera.weights.wire import SLOWEST_BYTES_PER_SECOND

LEASE_SECONDS = 600.0
"""Of an open version, beside the time that its bytes may take."""


def lease_seconds(size: int) -> float:
    """How long a version of so many bytes may be open without a sign of its writer."""
    return LEASE_SECONDS + size / SLOWEST_BYTES_PER_SECOND


class VersionLeases:
    """Leases of open versions; each method is one transaction.

    Args:
        database: the coordinator's file.
        retention: notes what shards have to forget.
    """

    def __init__(self, database: SQLiteFile, retention: VersionRetention) -> None:
        self._database = database
        self._retention = retention

    def renew(self, writer: Writer, number: int) -> None:
        """The writer of an open version lives: its lease begins anew."""
        with self._database.transaction() as db:
            own(db, writer, number)
            renew(db, writer.set, number)

    def give_up(self) -> None:
        """Abort what nobody has gone on with for longer than its lease.

        That is as long as the slowest push of its bytes may take, and some minutes.
        """
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT set_name, number FROM versions WHERE state IN (?, ?)"
                " AND opened + ? + size / ? < ?",
                (*UNFINISHED, LEASE_SECONDS, SLOWEST_BYTES_PER_SECOND, time.time()),
            ).fetchall()
            for row in rows:
                self._retention.give_up(db, row["set_name"], row["number"])


def renew(db: sqlite3.Connection, name: str, number: int) -> None:
    """Let the lease of a version begin anew."""
    now = time.time()
    db.execute(
        "UPDATE versions SET opened = ? WHERE set_name = ? AND number = ?", (now, name, number)
    )
