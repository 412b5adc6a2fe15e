"""Who writes a set, and what it may still change."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from tessera import errors
from tessera.parameters.rows import NOBODY, set_row, version_row
from tessera.weights.manifest import VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes a set: the epoch that it goes by, and the subject of its token.

    An epoch is a small number that anybody can guess; so it counts only in the hands of whoever
    acquired it.
    """

    set: str
    epoch: int
    holder: str


def latest_epoch() -> int:
    """The highest that may have been given: epochs go by the millisecond, whatever was lost."""
    return int(time.time() * 1000)


def fenced(db: sqlite3.Connection, writer: Writer) -> sqlite3.Row:
    """The row of the set, if this is its writer.

    Where the file was lost and it is known only which epochs have left traces, whoever comes first
    with none that is older is the writer.

    Raises:
        NotFoundError: there is no such set (SET_NOT_FOUND).
        FailedPreconditionError: somebody else writes it now, or it was deleted (FENCED).
    """
    found: sqlite3.Row | None = db.execute(
        "SELECT * FROM sets WHERE name = ?", (writer.set,)
    ).fetchone()
    if found is not None and found["deleted"]:
        raise errors.FailedPreconditionError(
            f"{writer.set} was deleted; to write it anew, acquire it again", reason="FENCED"
        )
    row = set_row(db, writer.set)
    if row["holder"] in {"", NOBODY} and row["epoch"] <= writer.epoch <= latest_epoch():
        db.execute(
            "UPDATE sets SET epoch = ?, holder = ? WHERE name = ?",
            (writer.epoch, writer.holder, writer.set),
        )
        row = set_row(db, writer.set)
    if (row["epoch"], row["holder"]) != (writer.epoch, writer.holder):
        raise errors.FailedPreconditionError(
            f"epoch {writer.epoch} of {writer.holder} may not write {writer.set}: {row['job']},"
            f" attempt {row['attempt']}, does with epoch {row['epoch']}",
            reason="FENCED",
        )
    return row


def own(db: sqlite3.Connection, writer: Writer, number: int) -> sqlite3.Row:
    """The row of a version that the writer may still change.

    Raises:
        NotFoundError: there is none (SET_NOT_FOUND, VERSION_NOT_FOUND).
        FailedPreconditionError: it is not its to change (FENCED), or given up (VERSION_ABORTED).
    """
    fenced(db, writer)
    row = version_row(db, writer.set, number)
    if row["state"] == VersionState.ABORTED.value:
        raise errors.FailedPreconditionError(
            f"{writer.set}@{number} was given up; open a new version", reason="VERSION_ABORTED"
        )
    return row
