"""What a caller shows: people a token of theirs, workloads one that is renewed. Pure."""

from __future__ import annotations

from typing import Protocol


class Renewed(Protocol):
    """A token that is another one later."""

    @property
    def token(self) -> str:
        """The token of now."""


Token = str | Renewed
