"""What readers see of the coordinator's store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.retention import Held
from tessera.parameters.rows import (
    held_versions,
    readable_version,
    set_row,
    version_of,
    version_row,
)
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.weights import messages
from tessera.weights.manifest import Manifest, ParameterSet, TensorSpec, Version, VersionState

_COMMITTED = VersionState.COMMITTED.value


class VersionReader:
    """Sets, committed versions and their manifests; each method is one transaction.

    Args:
        database: the coordinator's file.
    """

    def __init__(self, database: SQLiteFile) -> None:
        self._database = database

    def head(self, name: str) -> Version | None:
        """The newest committed version of a set; None if it has none."""
        with self._database.transaction() as db:
            number = set_row(db, name)["head"]
            return version_of(version_row(db, name, number)) if number else None

    def manifest(self, name: str, number: int, groups: Sequence[str], min_version: int) -> Manifest:
        """A committed version for reading; number 0 is the newest, no groups all that it holds."""
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
        return _selected(version, pb.Manifest.FromString(row["content"]), groups)

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
        prefix = f"{tenant}/" if tenant else ""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT name, head FROM sets WHERE name > ? AND substr(name, 1, ?) = ?"
                " ORDER BY name LIMIT ?",
                (after, len(prefix), prefix, limit),
            ).fetchall()
            held = held_versions(db)
            return [_summary(db, row["name"], row["head"], held) for row in rows]


def _newest(db: sqlite3.Connection, name: str) -> int:
    """The number of the newest committed version of a set."""
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


def _summary(db: sqlite3.Connection, name: str, head: int, every: Sequence[Held]) -> ParameterSet:
    held = [version for version in every if version.set == name]
    return ParameterSet(
        name=name,
        head=version_of(version_row(db, name, head)) if head else None,
        versions=len(held),
        size=sum(version.size for version in held),
    )
