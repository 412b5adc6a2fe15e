"""The rows of a file, column by name, each with its line."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tessera.trainer.data.content import lines, plain_bytes, plain_text
from tessera.trainer.data.sources import Source
from tessera.trainer.failure import UserError

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
        UserError: DATA_BROKEN_LINE, or what reading text raises.
    """
    text = plain_text(source)
    found: Iterable[tuple[int, Any]]
    if _ARRAY.match(text):
        found = enumerate(_parsed(source, 1, text), 1)
    else:
        given = ((number, line) for number, line in lines(text) if line.strip())
        found = ((number, _parsed(source, number, line)) for number, line in given)
    for number, row in found:
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


def csv_rows(source: Source, *, header: bool) -> Iterator[Row]:
    """Cells between commas, quoted where they hold commas, quotes or line ends."""
    # A document may well be longer than what the module takes for a mistake.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(plain_text(source), newline=""), strict=True)

    def cells() -> Iterator[tuple[int, list[str]]]:
        while True:
            number = reader.line_num + 1
            try:
                found = next(reader, None)
            except csv.Error as error:
                raise broken(source, number, f"not CSV: {error}") from None
            if found is None:
                return
            if found:
                yield number, found

    return _named(source, cells(), header)


def tsv_rows(source: Source, *, header: bool) -> Iterator[Row]:
    """Cells between tabs; quotes are characters like any other."""
    found = ((number, line.split("\t")) for number, line in lines(plain_text(source)))
    return _named(source, ((number, cells) for number, cells in found if cells != [""]), header)


def parquet_rows(source: Source, wanted: Sequence[str]) -> Iterator[Row]:
    """Rows by number; columns that are not wanted are None, unread."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    from pyarrow import parquet  # noqa: PLC0415

    try:
        file = parquet.ParquetFile(pa.BufferReader(plain_bytes(source)))
        names = file.schema_arrow.names
        blank = dict.fromkeys(names)
        number = 0
        for batch in file.iter_batches(columns=[name for name in names if name in wanted]):
            for row in batch.to_pylist():
                number += 1
                yield number, {**blank, **row}
    except (pa.ArrowException, OSError) as error:
        raise source.unreadable(f"is no Parquet file: {error}") from None


def parallel_rows(source: Source, target: Source) -> Iterator[Row]:
    """Line by line what means the same, in the columns `source` and `target`.

    Raises:
        UserError: DATA_NOT_PARALLEL, or what reading text raises.
    """
    left, right = list(lines(plain_text(source))), list(lines(plain_text(target)))
    if len(left) != len(right):
        description = (
            f"{target.name} has {len(right)} lines, but {source.name} has {len(left)}; line i of "
            "one must translate line i of the other"
        )
        raise UserError.at(target.field, description, "DATA_NOT_PARALLEL")
    for (number, said), (_, meant) in zip(left, right, strict=True):
        yield number, {"source": said, "target": meant}


def broken(source: Source, number: int, why: str) -> UserError:
    """The error of a line that cannot be read."""
    return UserError.at(source.field, f"{source.name}:{number}: {why}", "DATA_BROKEN_LINE")


def _named(source: Source, rows: Iterator[tuple[int, list[str]]], header: bool) -> Iterator[Row]:
    names: list[str] | None = None
    for number, cells in rows:
        if names is None:
            names = cells if header else [str(index) for index in range(len(cells))]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise broken(source, number, f"two columns are named `{twice}`")
            if header:
                continue
        if len(cells) != len(names):
            why = f"{len(cells)} cells, but {len(names)} columns: {', '.join(names)}"
            raise broken(source, number, why)
        yield number, dict(zip(names, cells, strict=True))
