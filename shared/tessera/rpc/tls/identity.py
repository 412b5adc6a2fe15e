"""What a process proves itself with, and whom it believes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SPENT = 0.9
"""Part of its time after which a certificate is not shown any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """A private key, its certificate, and the authority that both ends of a connection believe.

    Args:
        key: PEM.
        chain: its certificate, and those that lead to the authority; PEM.
        roots: the platform's authority, PEM; of several each is believed.
        seconds: how long it is good for, from now.
    """

    key: bytes = field(repr=False)
    chain: bytes
    roots: bytes
    seconds: float
    made: float = field(default_factory=time.time)

    @property
    def spent(self) -> bool:
        """Whether the next one is due."""
        return time.time() > self.made + SPENT * self.seconds


class Tls:
    """How a process reaches others, encrypted. Thread-safe.

    Args:
        controller_roots: whom it believes to be the controller, PEM; its certificate bears the name
            or address that it is called at.
        obtain: gets an identity, for calls to others than the controller; None: it calls no others.
        renews: whether whoever needs one that is spent gets the next; else its owner adopts that
            in time, and nobody waits for it.
    """

    def __init__(
        self,
        controller_roots: bytes,
        obtain: Callable[[], TlsIdentity] | None = None,
        *,
        renews: bool = True,
    ) -> None:
        self.controller_roots = controller_roots
        self._renews = renews
        self._obtain = obtain
        self._lock = threading.Lock()
        self._identity: TlsIdentity | None = None

    @property
    def identity(self) -> TlsIdentity:
        """The one of now."""
        if (known := self._identity) is not None and not self._due(known):
            return known
        with self._lock:
            if self._identity is None or self._due(self._identity):
                self._identity = self._fetch()
            return self._identity

    @property
    def last(self) -> TlsIdentity:
        """The one of before, if there is one: a handshake does not wait for the next."""
        return self._identity or self.identity

    @property
    def used(self) -> bool:
        """Whether it has had an identity."""
        return self._identity is not None

    def adopt(self, identity: TlsIdentity) -> None:
        """Take the next one, before the other is spent."""
        self._identity = identity

    def _due(self, known: TlsIdentity) -> bool:
        return self._renews and known.spent

    def _fetch(self) -> TlsIdentity:
        assert self._obtain is not None, "it only calls the controller"
        return self._obtain()


@dataclass(frozen=True, slots=True)
class Listener:
    """How a server is reached, encrypted.

    Args:
        identity: what it proves itself with now; asked at every handshake.
        mutual: whether callers must show a certificate of the same authority.
    """

    identity: Callable[[], TlsIdentity]
    mutual: bool = True


def listener_of(tls: Tls | None, *, mutual: bool = True) -> Listener | None:
    """Of a workload, which renews its identity itself; None: it is reached in clear."""
    return None if tls is None else Listener(lambda: tls.last, mutual)
