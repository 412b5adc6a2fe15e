"""What a JSON file of a model's folder states, and which of that nobody followed. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 160
"""Characters of a value in a sentence; of a longer one only the names of its keys are said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A key that is not followed although it is known.

    Args:
        reason: why a neutral value of it changes nothing here.
        neutral: the values of which that is true; None: whatever the value.
        otherwise: what a note says of any other value, behind the key and the value.
    """

    reason: str
    neutral: tuple[Any, ...] | None = None
    otherwise: str = "is not followed"

    def covers(self, value: Any) -> bool:
        """Whether a value changes nothing."""
        # 0 equals False and 1 equals True, and those mean the same in these files too.
        return self.neutral is None or value in self.neutral


UNSET: tuple[Any, ...] = (None, False, [], {}, "", 0)
"""Values by which nothing is asked for."""


class Statement:
    """One object of a file. What is read of it counts as followed; what is left is named.

    It is no mapping on purpose: `{**statement}` would count everything as followed.

    Args:
        values: its content.
        path: where it stands in its file, for messages; empty: it is the file's whole content.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path
        self._defaults: Mapping[str, Any] = {}
        self._read: set[str] = set()
        self._taken: set[str] = set()
        self._known: dict[str, Known] = {}
        self._inner: dict[str, Any] = {}
        self._notes: list[str] = []

    def __contains__(self, name: object) -> bool:
        """Whether a key is stated; to ask is not to read."""
        return name in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def __getitem__(self, name: str) -> Any:
        """A value that is followed: an object in it is a Statement, of which nothing is read yet.

        Raises:
            KeyError: it is neither stated nor has it a default.
        """
        if name not in self._values:
            return self._defaults[name]
        self._read.add(name)
        if name not in self._inner:
            self._inner[name] = _wrapped(self._values[name], _joined(self._path, name))
        return self._inner[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The same, or what is given for a key that is not stated and has no default."""
        return self[name] if name in self._values or name in self._defaults else default

    def whole(self, name: str, default: Any = None) -> Any:
        """A value that is followed with everything in it, as plain data."""
        if name not in self._values:
            return self._defaults.get(name, default)
        self._read.add(name)
        self._taken.add(name)
        return self._values[name]

    def content(self) -> Mapping[str, Any]:
        """Everything, which is followed, as plain data."""
        return {name: self.whole(name) for name in self._values}

    def over(self, defaults: Mapping[str, Any]) -> Statement:
        """The same statement, with values for keys that it does not state."""
        other = Statement(self._values, self._path)
        other._read, other._taken, other._known = self._read, self._taken, self._known
        other._inner, other._notes = self._inner, self._notes
        other._defaults = {**self._defaults, **defaults}
        return other

    def know(self, known: Mapping[str, Known]) -> None:
        """Add keys that need no following; what was said of one of them before holds no more."""
        self._known.update(known)

    def note(self, name: str, description: str) -> None:
        """Say of a key, whether it is followed or not, something that its reader has to know."""
        self._notes.append(f"{plain(_joined(self._path, name))} {description}")

    def unfollowed(self) -> Iterator[str]:
        """What was noted, and every key that nobody read, in a sentence each.

        A key that is known is left out where its value changes nothing.
        """
        yield from self._notes
        for name, value in self._values.items():
            if name in self._taken:
                continue
            if name in self._read:
                yield from _inner(self._inner[name])
                continue
            known = self._known.get(name)
            if known is None or not known.covers(value):
                said = known.otherwise if known else "is not followed: nothing here knows it"
                yield f"{_said(_joined(self._path, name), value)} {said}"


def open_statement(content: Any) -> tuple[Statement, Any]:
    """The content of a file, and the statement that knows what of it was not followed.

    An object is its own statement; the objects of a list are parts of one.
    """
    holder = Statement({"": content})
    return holder, holder[""]


def plain(text: str) -> str:
    """A name or value of a file as it may stand in a message: without control characters."""
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def _wrapped(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return Statement(value, path)
    if isinstance(value, list):
        return [_wrapped(item, f"{path}[{number}]") for number, item in enumerate(value)]
    return value


def _inner(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, Statement):
            yield from item.unfollowed()
        elif isinstance(item, list):
            yield from _inner(item)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _said(name: str, value: Any) -> str:
    """A key with its value, or with the names of all keys in it."""
    text = plain(json.dumps(value, ensure_ascii=False))
    if len(text) <= _LONGEST:
        return f"{plain(name)} {text}"
    keys = ", ".join(plain(key) for key in _leaves("", value))
    return f"{plain(name)} ({keys})" if keys else f"{plain(name)} {text[:_LONGEST]}…"


def _leaves(path: str, value: Any) -> Iterator[str]:
    """Paths of the keys in a value that hold no object themselves."""
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        inside = ((_joined(path, name), item) for name, item in value.items())
    elif isinstance(value, list):
        inside = ((f"{path}[{number}]", item) for number, item in enumerate(value))
    for name, item in inside:
        deeper = list(_leaves(name, item))
        if deeper or isinstance(value, dict):
            yield from deeper or [name]
