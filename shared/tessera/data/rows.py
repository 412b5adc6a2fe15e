"""The rows of a file, column by name, each with its line."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tessera import errors
from tessera.data.content import lines, plain_text
from tessera.data.source import Source

Row = tuple[int, Mapping[str, object]]
"""Number of its line, or of the row where a file has no lines, from 1, and values by column."""

_ARRAY = re.compile(r"\s*\[")


def text_rows(source: Source) -> Iterator[Row]:
    """Every line that is not blank, in the one column `text`."""
    for number, line in lines(plain_text(source)):
        if line.strip():
            yield number, {"text": line}


def jsonl_rows(source: Source) -> Iterator[Row]:
    """One JSON object per line; blank lines are skipped. Or those of the array that the file is.

    Raises:
        InvalidArgumentError: DATA_BROKEN_LINE, or what reading text raises.
    """
    text = plain_text(source)
    rows: Iterable[tuple[int, Any]]
    if _ARRAY.match(text):
        rows = enumerate(_parsed(source, 1, text), 1)
    else:
        given = ((number, line) for number, line in lines(text) if line.strip())
        rows = ((number, _parsed(source, number, line)) for number, line in given)
    for number, row in rows:
        if not isinstance(row, dict):
            raise broken(source, number, f"a {type(row).__name__} where an object is needed")
        yield number, row


def _parsed(source: Source, number: int, text: str) -> Any:
    """What a text says that begins in a line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        why = (
            "not JSON, which has one object per line here, or one array of them: "
            f"{error.msg} at {error.colno}"
        )
        raise broken(source, number + error.lineno - 1, why) from None
    except (ValueError, RecursionError) as error:
        raise broken(source, number, f"not JSON: {error}") from None


def csv_rows(source: Source, *, header: bool, delimiter: str = ",") -> Iterator[Row]:
    """Cells, quoted where they hold delimiters, quotes or line ends; blank rows are skipped.

    Raises:
        InvalidArgumentError: DATA_BROKEN_LINE, or what reading text raises.
    """
    # A document may well be longer than what the module takes for a mistake.
    csv.field_size_limit(sys.maxsize)
    text = plain_text(source)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def cells() -> Iterator[tuple[int, list[str]]]:
        while True:
            number = reader.line_num + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                why = f"not CSV: {error}{_backslash(text, number)}"
                raise broken(source, number, why) from None
            if row is None:
                return
            yield number, row

    return _named(source, cells(), header)


def tsv_rows(source: Source, *, header: bool) -> Iterator[Row]:
    """Cells between tabs; quotes are characters like any other, blank rows are skipped."""
    rows = ((number, line.split("\t")) for number, line in lines(plain_text(source)))
    return _named(source, rows, header)


def parallel_rows(source: Source, target: Source) -> Iterator[Row]:
    """Line by line what means the same, in the columns `source` and `target`.

    What is blank on both sides is skipped.

    Raises:
        InvalidArgumentError: DATA_NOT_PARALLEL, or what reading text raises.
    """
    left, right = list(lines(plain_text(source))), list(lines(plain_text(target)))
    if len(left) != len(right):
        description = (
            f"{target.name} has {len(right)} lines, but {source.name} has {len(left)}; line i of "
            "one must translate line i of the other"
        )
        raise target.wrong(description, "DATA_NOT_PARALLEL")
    for (number, said), (_, meant) in zip(left, right, strict=True):
        if said.strip() or meant.strip():
            yield number, {"source": said, "target": meant}


def broken(source: Source, number: int, why: str) -> errors.InvalidArgumentError:
    """The error of a line that cannot be read."""
    return source.wrong(f"{source.name}:{number}: {why}", "DATA_BROKEN_LINE")


def _backslash(text: str, number: int) -> str:
    """What to say of a row that seems to write quotes as JSON does."""
    rest = text.split("\n")[number - 1 : number + 99]
    if not any('\\"' in line for line in rest):
        return ""
    return '; a quote inside quotes is written twice there (""), not with a backslash (\\")'


def _named(source: Source, rows: Iterator[tuple[int, list[str]]], header: bool) -> Iterator[Row]:
    names: list[str] | None = None
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = cells if header else [str(index) for index in range(len(cells))]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                why = f"two columns are named `{twice}`"
                if header:
                    why += "; if this line is data, set `data.header: false`"
                raise broken(source, number, why)
            if header:
                continue
        if len(cells) != len(names):
            why = f"{len(cells)} cells, but {len(names)} columns: {', '.join(names)}"
            raise broken(source, number, why)
        yield number, dict(zip(names, cells, strict=True))
