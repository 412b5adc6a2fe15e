"""Where in a file something stands, and errors that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a source; `line` and `column` count from 1, line 0 is the source as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


def wrong(
    place: Place, description: str, *, reason: str, field: str = "", others: Sequence[str] = ()
) -> errors.InvalidArgumentError:
    """An error about one place; `others` are further mistakes that were found with it."""
    more = f" (and {len(others)} more)" if others else ""
    return errors.InvalidArgumentError(
        f"{place}: {description}{more}",
        reason=reason,
        violations=[errors.Violation(field, description)],
        metadata={
            "source": place.source,
            "line": str(place.line),
            "column": str(place.column),
        },
    )
