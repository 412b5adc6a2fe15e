"""Rows of the coordinator's tables as the types of `tessera.weights`."""

from __future__ import annotations

import json
import sqlite3

from tessera import errors
from tessera.weights.manifest import Version, VersionState


def set_row(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The row of a set.

    Raises:
        NotFoundError: there is none (reason SET_NOT_FOUND).
    """
    row: sqlite3.Row | None = db.execute("SELECT * FROM sets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise errors.NotFoundError(
            f"there is no set {name!r}; `tessera sets` lists them", reason="SET_NOT_FOUND"
        )
    return row


def version_row(db: sqlite3.Connection, name: str, number: int) -> sqlite3.Row:
    """The row of a version, whatever its state.

    Raises:
        NotFoundError: there is none (reason SET_NOT_FOUND or VERSION_NOT_FOUND).
    """
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM versions WHERE set_name = ? AND number = ?", (name, number)
    ).fetchone()
    if row is None:
        set_row(db, name)
        raise errors.NotFoundError(
            f"{name} has no version {number}; `tessera versions` lists them",
            reason="VERSION_NOT_FOUND",
        )
    return row


def version_of(row: sqlite3.Row) -> Version:
    """A row of `versions` as a version; its size counts only what is held."""
    sizes, held = json.loads(row["sizes"]), json.loads(row["held"])
    return Version(
        set=row["set_name"],
        number=row["number"],
        state=VersionState(row["state"]),
        epoch=row["epoch"],
        job=row["job"],
        attempt=row["attempt"],
        step=row["step"],
        commit_time=row["commit_time"],
        groups=tuple(held),
        size=sum(sizes[group] for group in held),
        labels=json.loads(row["labels"]),
    )
