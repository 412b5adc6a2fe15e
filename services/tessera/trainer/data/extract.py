"""From rows with columns to records with roles. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tessera.trainer.data.record import Record, Roles, check_together, value
from tessera.trainer.failure import UserError

_MISSING = object()
_SHOWN = 20
"""Columns that an error lists."""


@dataclass(slots=True, kw_only=True)
class Extractor:
    """Takes the values that a task wants out of rows.

    Args:
        roles: what is wanted.
        columns: role to column; a role that is not named is its own column.
        cells: whether the rows are of a csv or tsv file.
    """

    roles: Roles
    columns: Mapping[str, str]
    cells: bool = False
    _seen: dict[str, None] = field(init=False, repr=False, default_factory=dict)
    _met: set[str] = field(init=False, repr=False, default_factory=set)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns that may be asked for, and those that what is asked for may lie in."""
        paths = [self._column(role) for role in self.roles.all]
        return tuple(dict.fromkeys([*paths, *(path.partition(".")[0] for path in paths)]))

    def record(self, row: Mapping[str, object], place: str) -> Record:
        """The record of a row.

        Raises:
            UserError: DATA_COLUMN_MISSING or DATA_VALUE.
        """
        self._seen.update(dict.fromkeys(row))
        values: dict[str, object] = {}
        for role in self.roles.all:
            required = role in self.roles.required
            raw = _at(row, self._column(role))
            if raw is _MISSING:
                if required:
                    raise self._missing(role, row, f"{place}: ")
                continue
            self._met.add(role)
            try:
                found = value(role, raw, cell=self.cells)
            except ValueError as error:
                raise self._wrong(role, place, f"the {role} {error}") from None
            if found is not None:
                values[role] = found
            elif required:
                raise self._wrong(role, place, f"the {role} is empty; mend or remove the record")
        try:
            check_together(values)
        except ValueError as error:
            raise self._wrong("tags", place, str(error)) from None
        return Record(values=values, place=place)

    def check_met(self) -> None:
        """Raise UserError DATA_COLUMN_MISSING if a column that the spec names was in no row."""
        for role in self.roles.all:
            if self._seen and role in self.columns and role not in self._met:
                raise self._missing(role, self._seen, "")

    def _column(self, role: str) -> str:
        return self.columns.get(role, role)

    def _wrong(self, role: str, place: str, why: str) -> UserError:
        return UserError.at(f"data.columns.{role}", f"{place}: {why}", "DATA_VALUE")

    def _missing(self, role: str, names: Iterable[str], place: str) -> UserError:
        column, there = self._column(role), list(names)
        near = difflib.get_close_matches(column, there, n=1)
        description = (
            f"{place}there is no column `{column}`; there are {_listed(there)}; name the one that "
            f"holds the {role}{f', perhaps `{near[0]}`' if near else ''}"
        )
        return UserError.at(f"data.columns.{role}", description, "DATA_COLUMN_MISSING")


def _at(row: Mapping[str, object], column: str) -> object:
    """The value of a column, or what `a.b.0` reaches inside it: None past the end of a list."""
    if column in row:
        return row[column]
    name, *steps = column.split(".")
    found: Any = row.get(name, _MISSING)
    for step in steps:
        if isinstance(found, Mapping):
            found = found.get(step, _MISSING)
        elif isinstance(found, Sequence) and not isinstance(found, str) and step.isdecimal():
            found = found[int(step)] if int(step) < len(found) else None
        elif found is not None:
            return _MISSING
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"
