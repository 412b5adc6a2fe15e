"""Whom the platform believes: keys, and the tokens that it has revoked."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.controller.keys import Keys
from tessera.rpc.identity import Issuer, Verifier


class Trust:
    """What every server must know to judge tokens; heartbeats carry it to them.

    Args:
        keys: that sign.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._revoked: frozenset[str] = frozenset()
        self.verifier = Verifier(keys.public, "controller")

    @property
    def issuer(self) -> Issuer:
        """What signs now."""
        return self.keys.signer

    @property
    def revoked(self) -> list[str]:
        """Ids of tokens that are valid no more."""
        return sorted(self._revoked)

    def revoke(self, token_ids: Iterable[str]) -> None:
        """Believe these no more."""
        self._revoked |= {*token_ids}
        self.refresh()

    def refresh(self) -> None:
        """Judge by the keys of now."""
        self.verifier.update(self.keys.public, self._revoked)
