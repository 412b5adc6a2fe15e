"""Hides secrets in what a job says, however they are commonly written. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "***"
"""What stands in a secret's place."""

MIN_CHARS = 8
"""Characters of the shortest text that is hidden: a shorter one is in half of what is said."""


class Mask:
    """Puts `HIDDEN` in the place of every secret that it knows; at first it knows none.

    A secret is found as it is, in quotes of Python and of JSON, and in URLs; of one with several
    lines each is. What code makes of a secret otherwise is not recognised.
    """

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these from now on."""
        self._spellings |= {spelling for secret in secrets for spelling in _spellings(secret)}
        # Of two that begin alike, the longer one.
        longest = sorted(self._spellings, key=lambda spelling: (-len(spelling), spelling))
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _spellings(secret: str) -> Iterator[str]:
    for part in (secret, *(line.strip() for line in secret.splitlines())):
        if len(part) >= MIN_CHARS:
            yield part
            yield json.dumps(part)[1:-1]
            yield json.dumps(part, ensure_ascii=False)[1:-1]
            yield repr(part)[1:-1]
            yield part.encode("ascii", "backslashreplace").decode()
            # What is no text is in no URL.
            yield from (f(part, errors="replace") for f in (quote, quote_plus))
            yield quote(part, safe="", errors="replace")
