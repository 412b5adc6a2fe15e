"""Page tokens and sizes of lists."""

from __future__ import annotations

import base64
import binascii

from tessera import errors

DEFAULT_SIZE = 50


def size_of(asked: int) -> int:
    """How many items a page holds."""
    return asked or DEFAULT_SIZE


def encode(position: str) -> str:
    """The token of a position; empty stays empty."""
    return base64.urlsafe_b64encode(position.encode()).decode() if position else ""


def decode(token: str) -> str:
    """The position of a token.

    Raises:
        InvalidArgumentError: this server has not made it (INVALID_PAGE_TOKEN).
    """
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise errors.InvalidArgumentError(
            "page_token: send the next_page_token of an earlier page, or none",
            reason="INVALID_PAGE_TOKEN",
            violations=[errors.Violation("page_token", "not a token of this server")],
        ) from None
