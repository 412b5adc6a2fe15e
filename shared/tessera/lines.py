"""The lines of a text that say most. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MAX_LINE = 500
"""Characters of a line that are quoted."""


def first_line(said: str | BaseException) -> str:
    """The first line that is not blank, at most `MAX_LINE` of it; empty: there is none.

    An error that says nothing is told by its type.
    """
    line = _first(str(said).splitlines())
    return line or (type(said).__name__ if isinstance(said, BaseException) else "")


def last_line(text: str) -> str:
    """The last line that is not blank, at most `MAX_LINE` of it; empty: there is none."""
    return _first(reversed(text.splitlines()))


def _first(lines: Iterable[str]) -> str:
    return next((line.strip() for line in lines if line.strip()), "")[:MAX_LINE]
