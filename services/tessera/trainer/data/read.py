"""The records of a run: those to train on and those held out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tessera.spec.formats import DELIMITED
from tessera.trainer.data.extract import Extractor
from tessera.trainer.data.files import Part, opened, train_part, validation_part
from tessera.trainer.data.record import Record, Roles
from tessera.trainer.data.settings import DataSettings
from tessera.trainer.data.sources import ReadBlob
from tessera.trainer.data.split import hash_split
from tessera.trainer.failure import UserError


def read(
    data: DataSettings, roles: Roles, read_blob: ReadBlob
) -> tuple[list[Record], list[Record]]:
    """Training and held-out records; neither is empty.

    Records are held out by a hash of their file's name and of their line, so that no new one moves
    others; or they are those of the validation files.

    Args:
        data: names the files.
        roles: what is wanted of each record.
        read_blob: reads an upload.

    Raises:
        UserError: DATA_NOT_FOUND, DATA_UNREADABLE, DATA_NOT_TEXT, DATA_BROKEN_LINE,
            DATA_NOT_PARALLEL, DATA_COLUMN_MISSING, DATA_VALUE, DATA_EMPTY or
            DATA_EMPTY_SPLIT.
        UnavailableError: HUB_UNREACHABLE.
    """
    found = _records(data, train_part(data), roles, read_blob)
    if not found:
        raise _empty(train_part(data), "DATA_EMPTY")
    if data.validation_files:
        held_out = _records(data, validation_part(data), roles, read_blob)
        if not held_out:
            raise _empty(validation_part(data), "DATA_EMPTY_SPLIT")
        return found, held_out
    if len(found) == 1:
        description = "a single record cannot be trained on and held out; give more of them"
        raise UserError.at("data.files", description, "DATA_EMPTY_SPLIT")
    return hash_split(found, [record.place for record in found], data.held_out)


def _records(data: DataSettings, part: Part, roles: Roles, read_blob: ReadBlob) -> list[Record]:
    extractor = Extractor(roles=roles, columns=data.columns, cells=data.format in DELIMITED)
    records = (
        extractor.record(row, f"{name}:{number}")
        for name, file in opened(data, part, extractor.wanted, read_blob)
        for number, row in file
    )
    found = list(_at_most(data.max_bytes, records) if data.max_bytes else records)
    extractor.check_met()
    return found


def _at_most(max_bytes: int, records: Iterable[Record]) -> Iterable[Record]:
    """The first records that together have at most so many bytes of text."""
    for record in records:
        max_bytes -= sum(_size(value) for value in record.values.values())
        if max_bytes < 0:
            return
        yield record


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_size, value))
    return len(value.encode()) if isinstance(value, str) else 0


def _empty(part: Part, reason: str) -> UserError:
    return UserError.at(part.field, f"there is no record in {', '.join(part.files)}", reason)
