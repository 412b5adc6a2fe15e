"""The one way from names that came over the wire to a path. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from tessera import errors

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
"""One part of a path: no separator, no drive, nothing hidden, nothing that means another folder."""


def is_name(name: str) -> bool:
    """Whether `name` may be one part of a path: at most 255 letters, digits, `.`, `_` and `-`."""
    return _NAME.fullmatch(name) is not None


def joined(*names: str) -> str:
    """Names as one, `a/b/c`, for what has a root of its own.

    Raises:
        InvalidArgumentError: there is no name, or one could leave that root (INVALID_NAME).
    """
    wrong = [name for name in names if not is_name(name)]
    if wrong or not names:
        shown = repr(wrong[0][:80]) if wrong else "nothing"
        raise errors.InvalidArgumentError(
            f"{shown} is no name: letters, digits, `_`, `-` and `.` after the first, at most 255",
            reason="INVALID_NAME",
        )
    return "/".join(names)


def below(root: Path, *names: str) -> Path:
    """The path of a file or folder below `root`, one part for each name.

    Raises:
        InvalidArgumentError: there is no name, or one could leave `root` (INVALID_NAME).
    """
    return root / joined(*names)
