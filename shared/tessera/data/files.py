"""A file of data opened as its format says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tessera.data import rows
from tessera.data.parquet import parquet_rows
from tessera.data.rows import Row
from tessera.data.settings import DataSettings
from tessera.data.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose rows are read as they are asked for.

    Args:
        name: for people.
        rows: of the file.
        source: the file itself; None: it is a data set.
    """

    name: str
    rows: Iterator[Row]
    source: Source | None = None


def opened(data: DataSettings, source: Source, wanted: Sequence[str] | None) -> Opened:
    """The rows of a file of its own.

    Args:
        data: says how to read it.
        source: the file.
        wanted: columns that have to be read; None: all.
    """
    return Opened(name=source.name, rows=_rows(data, source, wanted), source=source)


def opened_pair(source: Source, target: Source) -> Opened:
    """The lines of two files that mean the same."""
    return Opened(name=source.name, rows=rows.parallel_rows(source, target))


def _rows(data: DataSettings, source: Source, wanted: Sequence[str] | None) -> Iterator[Row]:
    match data.format:
        case "jsonl":
            return rows.jsonl_rows(source)
        case "csv":
            return rows.csv_rows(source, header=data.header, delimiter=data.delimiter)
        case "tsv":
            return rows.tsv_rows(source, header=data.header)
        case "parquet":
            return parquet_rows(source, wanted)
        case _:
            return rows.text_rows(source)
