"""Page tokens and sizes of lists."""

from __future__ import annotations

import base64
import re

from tessera import errors

DEFAULT_SIZE = 50


def size_of(asked: int) -> int:
    """How many items a page holds."""
    return asked or DEFAULT_SIZE


def encode(position: str) -> str:
    """The token of a position; empty stays empty."""
    return base64.urlsafe_b64encode(position.encode()).decode() if position else ""


def number(token: str) -> int:
    """The position of a token that is a number; 0: there is no token.

    Raises:
        InvalidArgumentError: this server has not made it (INVALID_PAGE_TOKEN).
    """
    position = decode(token)
    if not re.fullmatch("[0-9]{0,18}", position):
        raise _not_ours()
    return int(position or 0)


def decode(token: str) -> str:
    """The position of a token.

    Raises:
        InvalidArgumentError: this server has not made it (INVALID_PAGE_TOKEN).
    """
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _not_ours() from None


def _not_ours() -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        "page_token: send the next_page_token of an earlier page, or none",
        reason="INVALID_PAGE_TOKEN",
        violations=[errors.Violation("page_token", "not a token of this server")],
    )
