"""Records to rows and back, by name.

A field is the column of its name. A field whose type is itself a record, as the demand of a job,
is not a column: its fields are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import sqlalchemy as sa

T = TypeVar("T")
Key = TypeVar("Key", int, str)

_AT_ONCE = 500


def record(kind: type[T], row: sa.Row[Any]) -> T:
    """The record that a row holds; columns that it has no field for are left."""
    made: T = _record(kind, row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return made


def _record(kind: Any, values: Mapping[Any, Any]) -> Any:
    parts = _fields(kind)
    return kind(**{n: values[n] if p is None else _record(p, values) for n, p in parts.items()})


def columns(value: Any) -> dict[str, Any]:
    """What a row holds of a record, by column."""
    kind: Any = type(value)
    result: dict[str, Any] = {}
    for name, part in _fields(kind).items():
        held = getattr(value, name)
        result |= {name: held} if part is None else columns(held)
    return result


def replace(connection: sa.Connection, table: sa.Table, value: Any) -> None:
    """Have a record's row, in place of one of the same primary key."""
    values = columns(value)
    same = [column == values[column.name] for column in table.primary_key]
    connection.execute(table.delete().where(*same))
    connection.execute(table.insert().values(**values))


def parts(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """As many keys at once as every database takes in one statement."""
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """Every field; with the type of a nested record, None where it is a column."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    return {name: hints[name] if is_dataclass(hints[name]) else None for name in names}
