"""Tables that commands print."""

from __future__ import annotations


def row(table: str, name: str) -> list[str]:
    """The cells of one line; other tests leave sets and models of theirs on the platform."""
    return next(cells for line in table.splitlines() if (cells := line.split())[:1] == [name])
