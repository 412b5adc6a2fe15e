"""Page tokens and sizes of lists, the same for every service."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tessera import errors

DEFAULT_SIZE = 50


def size_of(asked: int) -> int:
    """How many items a page holds."""
    return asked or DEFAULT_SIZE


def every_page(fetch: Callable[[Any], Any], request: Any) -> Iterator[Any]:
    """The pages of a list, each fetched when it is wanted.

    Args:
        fetch: one page, by a request.
        request: for the first page; its `page_token` is set for the others.
    """
    while True:
        page = fetch(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTokens:
    """The tokens of one list. They are opaque to callers, and of use in this list alone.

    Args:
        of: name of the list.
        position: regular expression of what a position in it is.
    """

    of: str
    position: str

    def encode(self, position: str) -> str:
        """The token of a position; empty stays empty."""
        return base64.urlsafe_b64encode(f"{self.of}:{position}".encode()).decode() * bool(position)

    def decode(self, token: str) -> str:
        """The position of a token; empty stays empty.

        Raises:
            InvalidArgumentError: this list has not made it (INVALID_PAGE_TOKEN).
        """
        if not token:
            return ""
        try:
            text = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError):
            text = ""
        of, _, position = text.partition(":")
        if of != self.of or not re.fullmatch(self.position, position, re.ASCII):
            raise errors.InvalidArgumentError.at(
                "page_token",
                "send the next_page_token of an earlier page of this list, or none",
                "INVALID_PAGE_TOKEN",
            )
        return position
