"""Who is believed on encrypted connections: the authority, and what the controller shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls import certificates
from tessera.rpc.tls.authority import Authority, host_names
from tessera.rpc.tls.given import GivenCertificate
from tessera.rpc.tls.identity import Listener, Tls
from tessera.rpc.tls.names import name_of

OWN_SECONDS = 86_400.0
"""How long certificates of the controller's own are valid; the next one is made before."""

WORKLOADS = frozenset({Role.ATTEMPT, Role.REPLICA, Role.SHARD, Role.COORDINATOR})
"""Who may be called, and not only call."""


class Encryption:
    """What a controller with TLS knows.

    Args:
        home: whose authority signs.
        own: what the controller is among the others.
        hosts: it is called at, beside the names of its machine.
        folder: with a certificate of the controller that others make; None: one is made.

    Raises:
        FailedPreconditionError: TLS_FILES_UNUSABLE.
    """

    def __init__(
        self, home: Path, own: Principal, hosts: Iterable[str], folder: Path | None = None
    ) -> None:
        self._authority = Authority.of(home)
        self._given = GivenCertificate(folder) if folder else None
        self._names = host_names(hosts)
        self.tls = Tls(
            self._authority.certificate,
            lambda: self._authority.identity([name_of(own)], seconds=OWN_SECONDS, server=False),
        )
        made = Tls(b"", lambda: self._authority.identity(self._names, seconds=OWN_SECONDS))
        self.listener = Listener(self._given or (lambda: made.identity), mutual=False)

    @property
    def roots(self) -> bytes:
        """Whom others are to believe to be the controller, PEM."""
        return self._given.roots if self._given else self._authority.certificate

    @property
    def authority(self) -> bytes:
        """Whom all are to believe of everybody else, PEM."""
        return self._authority.certificate

    def certify(self, request: bytes, who: Principal, seconds: float) -> bytes:
        """A certificate for what a principal is, whatever the request asks for; PEM.

        Args:
            request: proves to have a key, PEM.
            who: asks.
            seconds: how long it is valid.

        Raises:
            InvalidArgumentError: CERTIFICATE_REQUEST_INVALID.
        """
        key = certificates.requested_key(request)
        return self._authority.sign(
            key, [name_of(who)], seconds=seconds, server=who.role in WORKLOADS
        )
