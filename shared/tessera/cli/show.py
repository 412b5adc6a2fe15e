"""How results are printed: tables and lines for people, JSON for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tessera.spec import plain

MINUTE, HOUR, DAY = 60, 3600, 86400
WIDE = 4000
"""Columns of a table: a cell that is cut off is worse than a line that wraps."""


def console(*, stderr: bool = False) -> Console:
    """A console that guesses at nothing in a text, and breaks no lines off a terminal."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def line(text: str) -> None:
    """One line of output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line beside the output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def as_json(value: Any, *, stream: bool = False) -> None:
    """A message or plain value; one line where it is a part of a stream."""
    if isinstance(value, Message):
        value = plain(value, zeros=True)
    elif isinstance(value, list):
        value = [plain(v, zeros=True) if isinstance(v, Message) else v for v in value]
    line(json.dumps(value, indent=None if stream else 2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table without lines; `empty` is printed in place of one without rows."""
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        right = column in {"SIZE", "VERSION", "VERSIONS", "STEP", "LOSS", "HELD-OUT", "READY"}
        grid.add_column(column, no_wrap=True, justify="right" if right else "left")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    if grid.row_count:
        Console(highlight=False, markup=False, width=WIDE).print(grid)
    else:
        line(empty)


def facts(rows: Iterable[Sequence[str]]) -> None:
    """Names and what they are, one a line, each whole."""
    rows = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        line(f"  {'    '.join(set_cell_size(cell, width) for cell, width in cells)}".rstrip())


def enum(name: str, prefix: str) -> str:
    """`JOB_STATE_RUNNING` as `RUNNING`."""
    return name.removeprefix(prefix)


def age(when: Timestamp | float) -> str:
    """How long ago: `12 s`, `5 min`, `3 h`, `2 d`; empty where it never happened."""
    seconds = when if isinstance(when, float) else when.ToNanoseconds() / 1e9
    return duration(time.time() - seconds) if seconds else ""


def duration(seconds: float) -> str:
    """Seconds in one unit that fits."""
    seconds = max(0.0, seconds)
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} d"


def size(count: float) -> str:
    """Bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step between units
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
