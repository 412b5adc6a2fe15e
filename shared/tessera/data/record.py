"""One example of a task, its values by role. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SHOWN = 40
"""Characters of a value that an error shows."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An example: what was said of each role, and where.

    Args:
        values: by role: text for most, a tuple of texts for tokens, tags and several labels, a
            number for answer_start and score; a role that nothing was said of is missing.
        place: file and line, for people.
    """

    values: Mapping[str, object]
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What a task wants to know of each example."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Required ones, then optional ones."""
        return self.required + self.optional


def value(role: str, raw: object, *, cell: bool) -> object | None:
    """What a value means in a role; None if it says nothing.

    Args:
        role: text if it is none of those that are something else.
        raw: as the file has it.
        cell: a cell of a csv or tsv file, which separates labels with `|`.

    Raises:
        ValueError: it is of the wrong kind; says what is wrong.
    """
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return None
    return _KINDS.get(role, _text)(raw, cell)


def piece(raw: object) -> str:
    """What a value of any role is as a part of a longer text; nothing if it says nothing.

    Raises:
        ValueError: it is a list or the like; says what is wrong.
    """
    return "" if raw is None else _text(raw, False) if isinstance(raw, str) else _name(raw)


def check_together(values: Mapping[str, object]) -> None:
    """Raise ValueError if the values of a record do not fit one another."""
    tokens, tags = values.get("tokens"), values.get("tags")
    if isinstance(tokens, tuple) and isinstance(tags, tuple) and len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens, but {len(tags)} tags")


def _text(raw: object, _: bool) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"is {_shown(raw)} where text is needed")  # noqa: TRY004 - it is the data's
    if _HALF_CHARACTER.search(raw):
        raise ValueError("holds half a surrogate pair, which is no character")
    return raw


def _label(raw: object, cell: bool) -> str | tuple[str, ...]:
    if isinstance(raw, list | tuple):
        return tuple(_name(item) for item in raw)
    if cell and isinstance(raw, str) and "|" in raw:
        return tuple(_name(part) for part in raw.split("|") if part.strip())
    return _name(raw)


def _name(raw: object) -> str:
    """The text that a cell of a csv file would have."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, int) or (isinstance(raw, float) and math.isfinite(raw)):
        return str(raw)
    return _text(raw, False).strip()


def _words(raw: object, _: bool) -> tuple[str, ...] | None:
    if isinstance(raw, str):
        raw = raw.split()
    if not isinstance(raw, list | tuple):
        raise ValueError(f"is {_shown(raw)} where a list is needed")  # noqa: TRY004 - it is the data's
    return tuple(_name(item) for item in raw) or None


def _whole(raw: object, _: bool) -> int:
    try:
        number = int(raw) if isinstance(raw, str) else raw
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"is {_shown(raw)} where a whole number is needed")  # noqa: TRY004
    return number


def _number(raw: object, _: bool) -> float:
    try:
        number = float(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else raw
    except ValueError:
        number = None
    if not isinstance(number, float) or not math.isfinite(number):
        raise ValueError(f"is {_shown(raw)} where a number is needed")
    return number


def _shown(raw: object) -> str:
    shown = repr(raw)
    return shown if len(shown) <= _SHOWN else f"a {type(raw).__name__}"


_KINDS: Mapping[str, Callable[[object, bool], object | None]] = {
    "label": _label,
    "tokens": _words,
    "tags": _words,
    "answer_start": _whole,
    "score": _number,
}

NOT_TEXT = frozenset(_KINDS) - {"label"}
"""Roles whose values are lists or numbers."""
