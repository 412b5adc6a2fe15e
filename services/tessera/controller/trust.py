"""Whom the platform believes: keys, and the tokens that it has revoked."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tessera.controller.encryption import Encryption
from tessera.controller.keys import Keys
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls.identity import Tls

OWN_SECONDS = 600.0
"""How long a token of the controller's own is valid."""

CONTROLLER = Principal(subject="controller", role=Role.CONTROLLER, tenant="")


class Trust:
    """What every server must know to judge tokens; heartbeats carry it to them.

    Args:
        keys: that sign.
        encryption: of connections; None: they are in clear.
    """

    def __init__(self, keys: Keys, encryption: Encryption | None = None) -> None:
        self.keys = keys
        self.encryption = encryption
        self._revoked: dict[str, float] = {}
        self.verifier = Verifier(keys.public, "controller")

    def shown(self, service: str, principal: Principal = CONTROLLER) -> OwnToken:
        """What the controller shows to one service, and is worth nothing anywhere else.

        Args:
            service: one of `tessera.rpc.identity.SERVICES`.
            principal: the controller, with whose server it is that it calls.
        """
        return OwnToken(self, service, principal)

    @property
    def roots(self) -> bytes:
        """Whom workloads are to believe to be the controller, PEM; empty: they call it in clear."""
        return b"" if self.encryption is None else self.encryption.roots

    @property
    def issuer(self) -> Issuer:
        """What signs now."""
        return self.keys.signer

    @property
    def revoked(self) -> list[str]:
        """Ids of tokens that are valid no more; of those that would be by their time."""
        now = time.time()
        return sorted(token for token, expires in self._revoked.items() if expires > now)

    def revoke(self, tokens: Mapping[str, float]) -> None:
        """Believe these no more.

        Args:
            tokens: their ids, and when they expire, in seconds since the epoch.
        """
        self._revoked.update(tokens)
        # Whoever has expired is believed by nobody, and need not be told of with every heartbeat.
        self._revoked = {token: self._revoked[token] for token in self.revoked}
        self.refresh()

    def refresh(self) -> None:
        """Judge by the keys of now."""
        self.verifier.update(self.keys.public, frozenset(self.revoked))


class OwnToken:
    """The controller's own token, signed by the key of now.

    Args:
        trust: that signs.
        service: that it is shown to.
        principal: what it says.
    """

    def __init__(self, trust: Trust, service: str, principal: Principal) -> None:
        self._trust = trust
        self._service = service
        self._principal = principal
        self._issued = (0.0, "")

    @property
    def token(self) -> str:
        """One that is valid for some minutes."""
        made, token = self._issued
        if time.time() - made > OWN_SECONDS / 2:
            token = self._trust.issuer.issue(
                self._principal, ttl=OWN_SECONDS, audience=[self._service]
            )
            self._issued = (time.time(), token)
        return token

    @property
    def tls(self) -> Tls | None:
        """How the controller reaches others; None: in clear."""
        encryption = self._trust.encryption
        return None if encryption is None else encryption.tls
