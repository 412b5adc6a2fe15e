"""The columns of data: what stands in them, which classes they have, how long their texts are."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tessera import errors
from tessera.client.look import Look
from tessera.data.files import opened
from tessera.data.record import piece
from tessera.data.rows import Row
from tessera.data.settings import DELIMITED
from tessera.data.sniff import is_number

ROWS_SHOWN, VALUES_SHOWN = 5, 3

TEXT, WHOLE, NUMBER, TRUTH = "text", "whole number", "number", "true or false"
LIST, FIELDS, MIXED, NOTHING = "list", "fields", "mixed", "nothing"

_MOST_CLASSES, _LONGEST_CLASS, _KEPT = 100, 60, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Of the texts of a column: characters of the shortest, the middle and the longest one."""

    least: int
    middle: int
    most: int
    words: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSurvey:
    """A column.

    Args:
        name: as a spec names it.
        kind: of its values.
        blank: rows in which it says nothing.
        first: its first values, as text.
        classes: how often each value occurs, if it seems to say classes; else empty.
        lengths: of its texts; None: it has none.
        inner: names of the fields, where its values have some.
    """

    name: str
    kind: str
    blank: int
    first: tuple[str, ...]
    classes: Mapping[str, int]
    lengths: Lengths | None
    inner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What stands in some files.

    Args:
        rows: how many there are, or were looked at.
        columns: in their order.
        sample: the first rows, cells as text, in the order of the columns.
    """

    rows: int
    columns: tuple[ColumnSurvey, ...]
    sample: tuple[tuple[str, ...], ...]


def survey(looks: Sequence[Look]) -> Survey:
    """Read files through.

    Raises:
        InvalidArgumentError: DATA_EMPTY, or a row that cannot be read.
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    values: dict[str, list[Any]] = {}
    count = 0
    for look in looks:
        for _, row in _rows(look):
            for name, value in row.items():
                values.setdefault(name, []).append(value)
            count += 1
    if not count:
        first = looks[0].source
        raise first.wrong(f"there is nothing in {first.url}", "DATA_EMPTY")
    cells = looks[0].format in DELIMITED
    columns = tuple(_column(name, said, count, cells=cells) for name, said in values.items())
    return Survey(rows=count, columns=columns, sample=_sample(looks[0], list(values)))


def shown(value: Any) -> str:
    """A value as it is shown in a table."""
    if value is None:
        return ""
    try:
        return " ".join(piece(value).split())
    except ValueError:
        return " ".join(str(value).split())


def _rows(look: Look) -> Iterator[Row]:
    seen = 0
    try:
        for row in opened(look.settings, look.source, None).rows:
            yield row
            seen += 1
    except errors.InvalidArgumentError as error:
        # The last row of a beginning may well be broken.
        if look.whole or not seen or error.reason != "DATA_BROKEN_LINE":
            raise


def _sample(look: Look, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    rows = islice(_rows(look), ROWS_SHOWN)
    return tuple(tuple(shown(row.get(name)) for name in names) for _, row in rows)


def _column(name: str, values: Sequence[Any], rows: int, *, cells: bool) -> ColumnSurvey:
    said = [value for value in values if value is not None and str(value).strip()]
    kinds = {_kind(value, cells=cells) for value in said}
    texts = [value for value in said if isinstance(value, str)]
    kind = _joined(kinds)
    return ColumnSurvey(
        name=name,
        kind=kind,
        blank=rows - len(said),
        first=tuple(shown(value) for value in said[:VALUES_SHOWN]),
        classes=_classes(said) if kind in {TEXT, WHOLE, TRUTH} else {},
        lengths=_lengths(texts) if kind == TEXT else None,
        inner=tuple(said[0]) if kind == FIELDS else (),
    )


def _kind(value: Any, *, cells: bool) -> str:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int | float):
        return WHOLE if isinstance(value, int) else NUMBER
    if isinstance(value, str):
        return _kind_of_cell(value.strip()) if cells else TEXT
    return LIST if isinstance(value, list | tuple) else FIELDS if isinstance(value, dict) else MIXED


def _kind_of_cell(cell: str) -> str:
    if cell.lower() in {"true", "false"}:
        return TRUTH
    if cell.removeprefix("-").isdecimal():
        return WHOLE
    return NUMBER if is_number(cell) else TEXT


def _joined(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds:
        return NOTHING
    if kinds == {WHOLE, NUMBER}:
        return NUMBER
    return TEXT if kinds <= {TEXT, WHOLE, NUMBER, TRUTH} else MIXED


def _classes(said: Sequence[Any]) -> dict[str, int]:
    """How often each of few short values occurs; nothing if they are too many or too long."""
    counts: Counter[str] = Counter()
    for value in said:
        counts[piece(value).strip()] += 1
        if len(counts) > _MOST_CLASSES:
            return {}
    few = 1 < len(counts) <= max(2, len(said) // 2)
    short = all(len(name) <= _LONGEST_CLASS for name in counts)
    return dict(sorted(counts.items(), key=_order)) if few and short else {}


def _order(item: tuple[str, int]) -> tuple[int, int, str]:
    name = item[0]
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _lengths(texts: Sequence[str]) -> Lengths:
    lengths = [len(text) for text in texts]
    words = statistics.fmean(len(text.split()) for text in texts[:_KEPT])
    middle = int(statistics.median(lengths))
    return Lengths(least=min(lengths), middle=middle, most=max(lengths), words=words)
