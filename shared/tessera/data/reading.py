"""The records of opened files, and what is said of files that were opened the wrong way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tessera import errors
from tessera.data.advice import advice
from tessera.data.extract import Extractor
from tessera.data.files import Opened
from tessera.data.parts import Part, Storage, open_part, train_part, validation_part
from tessera.data.record import Record, Roles
from tessera.data.settings import DELIMITED, DataSettings
from tessera.data.split import hash_split


def read(data: DataSettings, roles: Roles, storage: Storage) -> tuple[list[Record], list[Record]]:
    """Training and held-out records; neither is empty.

    Records are held out by a hash of their file's name and of their line, so that no new one moves
    others; or they are those of the validation files.

    Args:
        data: names the files.
        roles: what is wanted of each record.
        storage: has the files.

    Raises:
        InvalidArgumentError: as `records`; DATA_EMPTY or DATA_EMPTY_SPLIT.
    """
    found = read_part(data, train_part(data), roles, storage)
    if not found:
        raise empty(train_part(data), "DATA_EMPTY")
    if data.validation_files:
        held_out = read_part(data, validation_part(data), roles, storage)
        if not held_out:
            raise empty(validation_part(data), "DATA_EMPTY_SPLIT")
        return found, held_out
    if len(found) == 1:
        description = "a single record cannot be trained on and held out; give more of them"
        raise errors.InvalidArgumentError.at("data.files", description, "DATA_EMPTY_SPLIT")
    return hash_split(found, [record.place for record in found], data.held_out)


def read_part(data: DataSettings, part: Part, roles: Roles, storage: Storage) -> list[Record]:
    """The records of one part. Raises as `records` does."""
    take = extractor(data, roles)
    return records(data, take, open_part(data, part, take.wanted, storage))


def empty(part: Part, reason: str) -> errors.InvalidArgumentError:
    """The error of files in which there is nothing."""
    description = f"there is nothing in {', '.join(part.files)}"
    return errors.InvalidArgumentError.at(part.field, description, reason)


def extractor(data: DataSettings, roles: Roles) -> Extractor:
    """What takes the records of a task out of rows."""
    return Extractor(
        roles=roles,
        columns=data.columns,
        cells=data.format in DELIMITED,
        label_names=data.label_names,
    )


def records(data: DataSettings, take: Extractor, files: Iterable[Opened]) -> list[Record]:
    """The records of files, as many as `max_bytes` leaves.

    Args:
        data: says how to read them.
        take: takes records out of rows.
        files: in the order in which they are read.

    Raises:
        InvalidArgumentError: DATA_NOT_FOUND, DATA_UNREADABLE, DATA_NOT_TEXT, DATA_BROKEN_LINE,
            DATA_NOT_PARALLEL, DATA_COLUMN_MISSING, DATA_VALUE or DATA_UNKNOWN_LABEL; where the file
            seems to be of another form than `data` says, with the field to set.
    """
    each = (record for file in files for record in _of(data, take, file))
    read = list(_at_most(data.max_bytes, each) if data.max_bytes else each)
    take.check_met()
    return read


def _of(data: DataSettings, take: Extractor, file: Opened) -> Iterator[Record]:
    try:
        for number, row in file.rows:
            yield take.record(row, f"{file.name}:{number}")
    except errors.InvalidArgumentError as error:
        said = advice(data, file.source, error.reason) if file.source else ""
        if not said:
            raise
        first = error.violations[0]
        raise type(error).at(first.field, f"{first.description}; {said}", error.reason) from None


def _at_most(max_bytes: int, each: Iterable[Record]) -> Iterator[Record]:
    """The first records that together have at most so many bytes of text."""
    for record in each:
        max_bytes -= sum(_size(value) for value in record.values.values())
        if max_bytes < 0:
            return
        yield record


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_size, value))
    return len(value.encode()) if isinstance(value, str) else 0
