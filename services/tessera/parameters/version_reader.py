"""What readers see of the coordinator's store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from tessera import errors
from tessera.parameters.quota import names_of
from tessera.parameters.rows import (
    readable_version,
    set_row,
    version_of,
    version_row,
)
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.weights.manifest import ParameterSet, Version, VersionState

_COMMITTED = VersionState.COMMITTED.value


class VersionReader:
    """Sets, committed versions and their manifests; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def content(
        self, name: str, number: int, groups: Sequence[str], min_version: int
    ) -> tuple[Version, bytes]:
        """A committed version for reading, and its manifest as it is kept.

        Args:
            name: of the set.
            number: of the version; 0: the head.
            groups: that it has to hold.
            min_version: the head must be that, or a newer one.

        Raises:
            NotFoundError: there is none, or not those groups (GROUP_NOT_FOUND, GROUP_DROPPED).
            FailedPreconditionError: it is older than `min_version` (TOO_OLD).
        """
        with self._database.transaction() as db:
            number = number or _newest(db, name)
            if number < min_version:
                raise errors.FailedPreconditionError(
                    f"{name} is at version {number}, older than the {min_version} asked for",
                    reason="TOO_OLD",
                    retry_after=1.0,
                )
            version = readable_version(db, name, number)
            sizes = json.loads(version_row(db, name, number)["sizes"])
            _check_groups(version, sizes, groups)
            row = db.execute(
                "SELECT content FROM manifests WHERE set_name = ? AND number = ?", (name, number)
            ).fetchone()
        return version, row["content"]

    def version(self, name: str, number: int) -> Version:
        """A committed version; number 0 is the newest.

        Raises:
            NotFoundError: there is none (SET_NOT_FOUND, VERSION_NOT_FOUND or VERSION_DROPPED).
        """
        with self._database.transaction() as db:
            return readable_version(db, name, number or _newest(db, name))

    def versions(self, name: str, before: int, limit: int) -> list[Version]:
        """Committed versions with numbers below `before` (0: any), newest first."""
        with self._database.transaction() as db:
            set_row(db, name)
            rows = db.execute(
                "SELECT * FROM catalogue WHERE set_name = ? AND state = ? AND dropped = 0"
                " AND (? = 0 OR number < ?) ORDER BY number DESC LIMIT ?",
                (name, _COMMITTED, before, before, limit),
            ).fetchall()
            return [version_of(row) for row in rows]

    def sets(self, tenant: str, after: str, limit: int) -> list[ParameterSet]:
        """Sets of a tenant (empty: of all) whose names follow `after`, by name."""
        first, last = names_of(tenant) if tenant else ("", _AFTER_ALL)
        with self._database.transaction() as db:
            rows = db.execute(_SUMMARIES, (_COMMITTED, max(after, first), last, limit)).fetchall()
            named = [row["name"] for row in rows]
            heads = {
                row["set_name"]: version_of(row)
                for row in db.execute(_HEADS, (named[0], named[-1]) if named else ("", ""))
            }
        return [
            ParameterSet(
                name=row["name"],
                head=heads.get(row["name"]),
                versions=row["versions"],
                size=row["size"],
                damaged_versions=row["damaged"],
            )
            for row in rows
        ]


_AFTER_ALL = "\x7f"
"""Follows every name."""

_SUMMARIES = """
SELECT name, count(versions.number) AS versions, coalesce(sum(versions.size), 0) AS size,
    (SELECT count(*) FROM (SELECT DISTINCT number FROM damage WHERE damage.set_name = name) AS said
        JOIN catalogue ON catalogue.set_name = name AND catalogue.number = said.number
        WHERE catalogue.damaged != '[]') AS damaged
FROM sets LEFT JOIN versions
    ON versions.set_name = name AND versions.state = ? AND versions.dropped = 0
WHERE name > ? AND name < ? AND deleted = 0 GROUP BY name ORDER BY name LIMIT ?
"""
_HEADS = """
SELECT catalogue.* FROM sets JOIN catalogue ON set_name = name AND number = head
WHERE name >= ? AND name <= ?
"""


def _newest(db: sqlite3.Connection, name: str) -> int:
    """The number of the version that readers get who name none."""
    head = int(set_row(db, name)["head"])
    if not head:
        raise errors.NotFoundError(
            f"{name} has no committed version yet", reason="VERSION_NOT_FOUND"
        )
    return head


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
