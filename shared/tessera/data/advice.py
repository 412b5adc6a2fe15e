"""What to set where a file is of another form than the spec says."""

from __future__ import annotations

from collections.abc import Iterator

from tessera import errors
from tessera.data.content import plain_bytes, plain_text
from tessera.data.settings import DELIMITED, DataSettings
from tessera.data.sniff import DELIMITERS, FileForm, sniff
from tessera.data.source import Source

_REASONS = frozenset({"DATA_BROKEN_LINE", "DATA_COLUMN_MISSING", "DATA_UNREADABLE", "DATA_VALUE"})
_PARQUET = b"PAR1"


def advice(data: DataSettings, source: Source, reason: str) -> str:
    """What to set, for the message of an error that reading a file ended with; "" for nothing.

    Args:
        data: what the spec says.
        source: the file.
        reason: of the error.
    """
    if reason not in _REASONS:
        return ""
    try:
        if plain_bytes(source).startswith(_PARQUET):
            return "" if data.format == "parquet" else _format("parquet")
        # What is said to have cells is looked at as if its name said so.
        name = f"{source.name}.{data.format}" if data.format in DELIMITED else source.name
        form = sniff(name, plain_text(source))
    except errors.TesseraError:
        return ""
    return "; ".join(_said(data, form, missing=reason == "DATA_COLUMN_MISSING"))


def _said(data: DataSettings, form: FileForm, *, missing: bool) -> Iterator[str]:
    if form.format not in {data.format, "text"}:
        yield _format(form.format)
    elif data.format == form.format == "csv" and form.delimiter != data.delimiter:
        yield (
            f"its cells are separated by a {DELIMITERS[form.delimiter]}: set "
            f"`data.delimiter: '{form.delimiter}'`"
        )
    if missing and form.header is not None and form.header != data.header:
        yield (
            "its first line looks like names of columns: set `data.header: true`"
            if form.header
            else "its first line looks like data, not like names of columns: set "
            "`data.header: false`, and name the columns in `data.columns` by their numbers, `0`, "
            "`1` …"
        )


def _format(name: str) -> str:
    return f"the file looks like {name}: set `data.format: {name}`"
