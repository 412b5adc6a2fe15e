"""Sets go as wholes: their versions are dropped, their names are free, their numbers go on."""

from __future__ import annotations

import sqlite3
import time

from tessera import errors
from tessera.parameters.retention import Drop
from tessera.parameters.rows import NOBODY, held_versions, set_row, unfinished_versions
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.parameters.version_retention import VersionRetention

_SHOWN = 3


class Deletion:
    """Deletes sets; each method is one transaction.

    Args:
        database: the coordinator's file.
        retention: notes what shards have to forget.
    """

    def __init__(self, database: SQLiteFile, retention: VersionRetention) -> None:
        self._database = database
        self._retention = retention

    def delete(self, name: str, *, force: bool) -> tuple[int, int]:
        """Drop all versions of a set; it is not there any more, and its writer is fenced off.

        Its row stays: if the set is made again, numbers and epochs go on, so that nobody takes a
        new version for an old one.

        Args:
            name: of the set.
            force: also if versions of it are pinned or being written.

        Returns:
            How many versions it had, and their bytes.

        Raises:
            NotFoundError: there is no such set.
            FailedPreconditionError: somebody needs it (SET_IN_USE), without `force`.
        """
        with self._database.transaction() as db:
            set_row(db, name)
            if not force:
                _check_unused(db, name)
            held = held_versions(db, name)
            for row in unfinished_versions(db, name):
                self._retention.give_up(db, name, row["number"])
            drops = [Drop(set=name, number=one.number, groups=(), whole=True) for one in held]
            self._retention.drop(db, drops)
            db.execute("DELETE FROM pins WHERE set_name = ?", (name,))
            db.execute("DELETE FROM head_moves WHERE set_name = ?", (name,))
            db.execute(
                "UPDATE sets SET deleted = ?, head = 0, move = moves, epoch = epoch + 1,"
                " job = '', attempt = 0, holder = ? WHERE name = ?",
                (time.time(), NOBODY, name),
            )
            return len(held), sum(version.size for version in held)


def _check_unused(db: sqlite3.Connection, name: str) -> None:
    owners = [
        f"{row['owner']} (version {row['number']})"
        for row in db.execute(
            "SELECT owner, number FROM pins WHERE set_name = ? AND expires > ? ORDER BY owner",
            (name, time.time()),
        )
    ]
    owners += [
        f"job {row['job']} (writes version {row['number']})"
        for row in unfinished_versions(db, name)
    ]
    if owners:
        more = f" and {len(owners) - _SHOWN} more" if len(owners) > _SHOWN else ""
        raise errors.FailedPreconditionError(
            f"{name} is in use by {', '.join(owners[:_SHOWN])}{more}; end what uses it, or delete"
            " it all the same with --force",
            reason="SET_IN_USE",
        )
