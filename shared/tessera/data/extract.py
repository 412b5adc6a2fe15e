"""From rows with columns to records with roles. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tessera import errors
from tessera.data.labels import alike
from tessera.data.record import Record, Roles, check_together, piece, value
from tessera.data.template import Template

CLASSES = ("label", "tags")
"""Roles that say classes."""

_MISSING = object()
_SHOWN = 20
"""Columns that an error lists."""

_LONGEST = 40
"""Characters of a name that an error shows."""


@dataclass(slots=True, kw_only=True)
class Extractor:
    """Takes the values that a task wants out of rows.

    Args:
        roles: what is wanted.
        columns: role to column, or to a template of several; a role that is not named is its own
            column.
        cells: whether the rows are of a csv or tsv file.
        label_names: names of classes, by what stands for them; none: they are their names.
    """

    roles: Roles
    columns: Mapping[str, str]
    cells: bool = False
    label_names: Mapping[str, str] = field(default_factory=dict)
    _seen: dict[str, None] = field(init=False, repr=False, default_factory=dict)
    _met: set[str] = field(init=False, repr=False, default_factory=set)
    _names: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        told = self.label_names
        # What bears its name already keeps it.
        kept = {name: name for name in told.values()}
        self._names = {**kept, **{alike(raw): name for raw, name in told.items()}, **told}

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns that may be asked for, and those that what is asked for may lie in."""
        told = [self._column(role) for role in self.roles.all]
        paths = [*told, *(path for text in told for path in _parts(text))]
        return tuple(dict.fromkeys([*paths, *(path.partition(".")[0] for path in paths)]))

    def record(self, row: Mapping[str, object], place: str) -> Record:
        """The record of a row.

        Raises:
            InvalidArgumentError: DATA_COLUMN_MISSING, DATA_VALUE or DATA_UNKNOWN_LABEL.
        """
        self._seen.update(dict.fromkeys(row))
        values: dict[str, object] = {}
        for role in self.roles.all:
            required = role in self.roles.required
            raw = self._raw(role, row, place)
            if raw is _MISSING:
                continue
            self._met.add(role)
            try:
                said = value(role, raw, cell=self.cells)
            except ValueError as error:
                raise self._wrong(role, place, f"the {role} {error}") from None
            if said is not None:
                values[role] = self._named(said, place) if role in CLASSES else said
            elif required:
                raise self._wrong(role, place, f"the {role} is empty; mend or remove the record")
        try:
            check_together(values)
        except ValueError as error:
            raise self._wrong("tags", place, str(error)) from None
        return Record(values=values, place=place)

    def check_met(self) -> None:
        """Raise DATA_COLUMN_MISSING if a column that the spec names was in no row."""
        for role in self.roles.all:
            if self._seen and role in self.columns and role not in self._met:
                raise self._missing(role, self._column(role), self._seen, "")

    def _raw(self, role: str, row: Mapping[str, object], place: str) -> object:
        """The value of a role, or what its template makes of several; _MISSING: there is none."""
        column = self._column(role)
        if column in row:
            return row[column]
        template = _template(column)
        if template is None:
            raw = _at(row, column)
            if raw is _MISSING and role in self.roles.required:
                raise self._missing(role, column, row, f"{place}: ")
            return raw

        def part(name: str) -> str:
            raw = _at(row, name)
            if raw is _MISSING:
                raise self._missing(role, name, row, f"{place}: ")
            try:
                return piece(raw)
            except ValueError as error:
                raise self._wrong(role, place, f"the column `{name}` {error}") from None

        return template.fill(part)

    def _named(self, said: object, place: str) -> object:
        """Classes under the names that the spec gives them."""
        if not self.label_names:
            return said
        if isinstance(said, tuple):
            return tuple(self._name(name, place) for name in said)
        return self._name(str(said), place)

    def _name(self, raw: str, place: str) -> str:
        name = self._names.get(raw) or self._names.get(alike(raw))
        if name is None:
            known = _listed(list(self.label_names))
            description = (
                f"{place}: the class `{raw}` has no name here, only {known} have; give it one"
            )
            raise errors.InvalidArgumentError.at(
                "data.label_names", description, "DATA_UNKNOWN_LABEL"
            )
        return name

    def _column(self, role: str) -> str:
        return self.columns.get(role, role)

    def _wrong(self, role: str, place: str, why: str) -> errors.InvalidArgumentError:
        return errors.InvalidArgumentError.at(
            f"data.columns.{role}", f"{place}: {why}", "DATA_VALUE"
        )

    def _missing(
        self, role: str, column: str, names: Iterable[str], place: str
    ) -> errors.InvalidArgumentError:
        there = list(names)
        near = difflib.get_close_matches(column, there, n=1)
        description = (
            f"{place}there is no column `{column}`; there are {_listed(there)}; name the one that "
            f"holds the {role} in `data.columns.{role}`{f', perhaps `{near[0]}`' if near else ''}"
        )
        return errors.InvalidArgumentError.at(
            f"data.columns.{role}", description, "DATA_COLUMN_MISSING"
        )


@cache
def _template(column: str) -> Template | None:
    if "{" not in column:
        return None
    try:
        return Template.parse(column)
    except ValueError:
        return None  # Whoever checks the spec refuses it; here it is a name like any other.


def _parts(column: str) -> tuple[str, ...]:
    template = _template(column)
    return template.columns if template else ()


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
    shown = ", ".join(f"`{_short(name)}`" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"


def _short(name: str) -> str:
    """A name as it is shown; one that is a headline is cut."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
