"""The classes of a run and their numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tessera.trainer.data.record import Record
from tessera.trainer.failure import UserError

_SHOWN = 20
"""Classes that an error lists."""

_LEAST = 2
"""Classes that a choice takes."""


def find_labels(records: Iterable[Record], role: str) -> tuple[str, ...]:
    """The classes of training records, sorted; as numbers if all of them are.

    Raises:
        UserError: DATA_ONE_LABEL.
    """
    found = {name for record in records for name in names_of(record, role)}
    if len(found) < _LEAST:
        known = f"one class, `{next(iter(found))}`" if found else "no class"
        description = f"the training records have {known}; give records of two classes at least"
        raise UserError.at(f"data.columns.{role}", description, "DATA_ONE_LABEL")
    if all(name.isdecimal() for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def label_ids(record: Record, role: str, numbers: Mapping[str, int]) -> list[int]:
    """Numbers of a record's classes.

    Raises:
        UserError: DATA_UNKNOWN_LABEL.
    """
    found = names_of(record, role)
    for name in found:
        if name not in numbers:
            known = [f"`{known}`" for known in list(numbers)[:_SHOWN]]
            more = [f"{len(numbers) - _SHOWN} more"] if len(numbers) > _SHOWN else []
            description = (
                f"{record.place}: there is no class `{name}`; there are "
                f"{', '.join(known + more)}; mend the record, or name all classes in `task.labels`"
            )
            raise UserError.at(f"data.columns.{role}", description, "DATA_UNKNOWN_LABEL")
    return [numbers[name] for name in found]


def numbered(labels: Sequence[str]) -> dict[str, int]:
    """Number of each class."""
    return {name: number for number, name in enumerate(labels)}


def names_of(record: Record, role: str) -> tuple[str, ...]:
    """The one or several classes of a record."""
    said = record.values.get(role, ())
    return said if isinstance(said, tuple) else (str(said),)
