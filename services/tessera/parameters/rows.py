"""Rows of the coordinator's tables as values."""

from __future__ import annotations

import json
import sqlite3
import time

from tessera import errors
from tessera.parameters.quota import tenant_of
from tessera.parameters.retention import DEFAULT_KEEP, Held
from tessera.weights.manifest import Version, VersionState

UNFINISHED = (VersionState.OPEN.value, VersionState.SEALED.value)
"""States of versions that are being written."""


NOBODY = "-"
"""Holder of a set that was found or deleted: whoever writes it has to acquire it again."""


def make_set(db: sqlite3.Connection, name: str, holder: str, *, deleted: float = 0.0) -> None:
    """Make a set, unless it is there; nobody has an epoch of it yet.

    Args:
        db: connection of a transaction.
        name: of the set.
        holder: who may write it.
        deleted: when it was; 0: it was not.
    """
    db.execute(
        "INSERT INTO sets (name, epoch, job, attempt, keep, next, head, holder, deleted)"
        " VALUES (?, 0, '', 0, ?, 1, 0, ?, ?) ON CONFLICT DO NOTHING",
        (name, DEFAULT_KEEP, holder, deleted),
    )


def set_row(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The row of a set.

    Raises:
        NotFoundError: there is none, or it was deleted (reason SET_NOT_FOUND).
    """
    row: sqlite3.Row | None = db.execute("SELECT * FROM sets WHERE name = ?", (name,)).fetchone()
    if row is None or row["deleted"]:
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
        "SELECT * FROM catalogue WHERE set_name = ? AND number = ?", (name, number)
    ).fetchone()
    if row is None:
        set_row(db, name)
        raise errors.NotFoundError(
            f"{name} has no version {number}; `tessera versions` lists them",
            reason="VERSION_NOT_FOUND",
        )
    return row


def version_of(row: sqlite3.Row) -> Version:
    """A row of `catalogue` as a version; its size counts only what is held."""
    sizes, held = json.loads(row["sizes"]), json.loads(row["held"])
    damaged = json.loads(row["damaged"])
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
        # What could be of any group may be of each.
        damaged_groups=tuple(group for group in held if group in damaged or "" in damaged),
    )


def readable_version(db: sqlite3.Connection, name: str, number: int) -> Version:
    """A version that is committed and held, be it in part.

    Raises:
        NotFoundError: it is not (reason SET_NOT_FOUND, VERSION_NOT_FOUND or VERSION_DROPPED).
    """
    set_row(db, name)
    row = version_row(db, name, number)
    if row["dropped"]:
        raise errors.NotFoundError(
            f"{name}@{number} was dropped to make room; `tessera versions` lists what is held",
            reason="VERSION_DROPPED",
        )
    if row["state"] != VersionState.COMMITTED.value:
        raise errors.NotFoundError(
            f"{name}@{number} is {row['state']}, not committed", reason="VERSION_NOT_FOUND"
        )
    return version_of(row)


def unfinished_versions(db: sqlite3.Connection, name: str) -> list[sqlite3.Row]:
    """Rows of the versions of a set that are being written."""
    return db.execute(
        "SELECT * FROM versions WHERE set_name = ? AND state IN (?, ?)", (name, *UNFINISHED)
    ).fetchall()


def held_versions(db: sqlite3.Connection, name: str = "") -> list[Held]:
    """Every committed version of which something is held, of a set or (empty) of all.

    A head counts as pinned: whoever names no version reads it, be it the newest or not.
    """
    pinned = {
        (row["set_name"], row["number"])
        for row in db.execute(
            "SELECT set_name, number FROM pins WHERE expires > ?"
            " UNION SELECT name, head FROM sets WHERE head > 0",
            (time.time(),),
        )
    }
    held = []
    for row in db.execute(
        "SELECT * FROM versions WHERE state = ? AND dropped = 0 AND ? IN ('', set_name)",
        (VersionState.COMMITTED.value, name),
    ).fetchall():
        sizes = json.loads(row["sizes"])
        held.append(
            Held(
                set=row["set_name"],
                number=row["number"],
                commit_time=row["commit_time"],
                pinned=(row["set_name"], row["number"]) in pinned,
                groups={group: sizes[group] for group in json.loads(row["held"])},
            )
        )
    return held


def reserved_bytes(db: sqlite3.Connection) -> dict[str, int]:
    """Bytes that versions which are being written were declared to take, by tenant."""
    found: dict[str, int] = {}
    for row in db.execute(
        "SELECT set_name, sizes FROM versions WHERE state IN (?, ?)", UNFINISHED
    ).fetchall():
        tenant = tenant_of(row["set_name"])
        found[tenant] = found.get(tenant, 0) + sum(json.loads(row["sizes"]).values())
    return found
