"""What a caller shows: people a token of theirs, workloads one that is renewed. Pure.

How it reaches others, encrypted, goes with it: whoever has the one needs the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from tessera.rpc.tls.identity import Tls


class Renewed(Protocol):
    """A token that is another one later."""

    @property
    def token(self) -> str:
        """The token of now."""

    @property
    def tls(self) -> Tls | None:
        """How others are reached; None: in clear."""


@dataclass(frozen=True, slots=True)
class EncryptedToken:
    """A token that is what it is, for calls that are encrypted.

    Args:
        token: as it is shown.
        tls: how others are reached.
    """

    token: str = field(repr=False)
    tls: Tls


Token = str | Renewed


def tls_of(token: Token) -> Tls | None:
    """How its bearer reaches others; None: in clear."""
    return None if isinstance(token, str) else token.tls
