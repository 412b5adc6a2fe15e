"""What form a file seems to have, from its content."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

DELIMITERS: Mapping[str, str] = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
"""What may stand between cells, and what it is called."""

_ENOUGH = 200
"""Rows that a guess is made from."""

_AGREE = 0.9
"""Share of the rows that must have one width, where the name of the file says that it has cells."""

_NAME = re.compile(r"[^\W\d][\w.\- /()#%&]*|[\w.-]*[^\W\d][\w.-]*")
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*%?\s*")
_LONG_NAME, _MANY_WORDS = 40, 5
_SAID_OFTEN = frozenset(
    (
        "text",
        "label",
        "labels",
        "class",
        "category",
        "sentiment",
        "title",
        "body",
        "content",
        "review",
        "comment",
        "sentence",
        "message",
        "question",
        "answer",
        "context",
        "source",
        "target",
        "score",
        "rating",
        "stars",
        "id",
        "tokens",
        "tags",
        "text_pair",
        "sentence1",
        "sentence2",
        "premise",
        "hypothesis",
        "description",
        "headline",
        "topic",
    )
)
"""Names of columns that no data looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileForm:
    """What a file of text seems to be.

    Args:
        format: text, jsonl, csv or tsv.
        delimiter: between cells; "" without cells.
        header: whether the first row names the columns; None without cells.
    """

    format: str
    delimiter: str = ""
    header: bool | None = None


def sniff(name: str, text: str) -> FileForm:
    """The form of a text, or of the beginning of one that ends with a whole line.

    Args:
        name: of the file; its ending counts where the content leaves it open.
        text: its content.
    """
    if _is_json(text):
        return FileForm(format="jsonl")
    delimiter = _delimiter(name, text)
    if not delimiter:
        return FileForm(format="text")
    rows = rows_of(text, delimiter)
    return FileForm(
        format="tsv" if delimiter == "\t" else "csv", delimiter=delimiter, header=has_header(rows)
    )


def rows_of(text: str, delimiter: str) -> list[list[str]]:
    """The first rows that are not blank; those before the first that is no CSV."""
    found: list[list[str]] = []
    for row in _rows(text, delimiter):
        if any(cell.strip() for cell in row):
            found.append(row)
        if len(found) == _ENOUGH:
            break
    return found


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of some rows names the columns rather than being data like the others."""
    if not rows:
        return True
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    if first == [str(index) for index in range(len(first))] and rest:
        return True  # What pandas writes for columns without names.
    named = [cell for index, cell in enumerate(first) if cell or index]
    if not all(named) or len(set(named)) < len(named):
        return False
    below = [{row[i].strip() for row in rest if i < len(row)} for i in range(len(first))]
    if any(cell and cell in column for cell, column in zip(first, below, strict=True)):
        return False
    if any(cell.lower() in _SAID_OFTEN for cell in named):
        return True
    return all(map(_is_name, named))


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    return _NUMBER.fullmatch(cell) is not None


def _is_name(cell: str) -> bool:
    return (
        len(cell) <= _LONG_NAME
        and len(cell.split()) < _MANY_WORDS
        and not is_number(cell)
        and _NAME.fullmatch(cell) is not None
    )


def _is_json(text: str) -> bool:
    start = text.lstrip()
    if start[:1] == "[":
        # The beginning of a long array is no whole one.
        return re.match(r"\[\s*(\{\s*(\"|\})|\])", start) is not None
    if start[:1] != "{":
        return False
    line = start.split("\n", 1)[0]
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return re.match(r"\{\s*\"", start) is not None


def _delimiter(name: str, text: str) -> str:
    """What stands between the cells of a text; "" if it seems to have none."""
    suffixes = PurePosixPath(name.lower()).suffixes
    told = ".csv" in suffixes or ".tsv" in suffixes or ".tab" in suffixes
    widths = {mark: _width(text, mark, told=told) for mark in DELIMITERS}
    best = max(widths, key=lambda mark: (widths[mark], mark == "\t", mark == ","))
    if widths[best] > 1:
        return best
    return ("," if ".csv" in suffixes else "\t") if told else ""


def _width(text: str, delimiter: str, *, told: bool) -> int:
    """How many cells the rows have with that between them; 0 if they do not agree."""
    rows = rows_of(text, delimiter)
    # A line or two of prose may well have as many commas as one another.
    least = 1 if told else 2 if delimiter == "\t" else 3
    if len(rows) < least:
        return 0
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return width if count >= len(rows) * (_AGREE if told else 1) else 0


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    if delimiter == "\t":
        yield from (line.removesuffix("\r").split("\t") for line in text.split("\n"))
        return
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error:
        return
