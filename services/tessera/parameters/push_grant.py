"""The coordinator's word to the shards that slices of a version may be pushed, signed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera import errors
from tessera.durable_file import PRIVATE, write_durably
from tessera.rpc.identity import ALGORITHM, Issuer

LABEL = "grants"
"""Label of the coordinator's endpoint: the key that its grants are verified with, PEM."""

GRANT_SECONDS = 24 * 3600.0
"""How long a version may stay open: then its grant ends, and the coordinator gives it up."""

_AUDIENCE = "tessera-push"
_REFRESH_SECONDS = 1.0
"""Between two looks for another key: grants of nobody's must not become calls of the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushGrant:
    """What may be pushed: slices of one version of a set, as of one epoch of its writers.

    `store` is the id of the coordinator's store: shards of another one refuse it.
    """

    store: str
    set: str
    version: int
    epoch: int


class GrantSigner:
    """The coordinator's side.

    Args:
        path: of its private key, which is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, Issuer.generate_key(), mode=PRIVATE)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key

    @property
    def public_key(self) -> str:
        """What shards verify with, PEM."""
        pem, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(pem, kind).decode()

    def sign(self, grant: PushGrant, *, seconds: float = GRANT_SECONDS) -> str:
        """The grant as a token that ends after some seconds."""
        claims = {
            "aud": _AUDIENCE,
            "exp": int(time.time() + seconds),
            "store": grant.store,
            "set": grant.set,
            "version": grant.version,
            "epoch": grant.epoch,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)


class GrantVerifier:
    """A shard's side.

    Args:
        fetch: asks for the coordinator's key; raises UnavailableError where there is none now.
    """

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._key = ""
        self._next = 0.0

    def verify(self, token: str) -> PushGrant:
        """What a token grants.

        Raises:
            PermissionDeniedError: it is none of this coordinator's, or has ended (GRANT_INVALID).
            UnavailableError: the coordinator's key is not known yet.
        """
        found = self._read(token, self._key) or self._read(token, self._newer())
        if found is None:
            raise errors.PermissionDeniedError(
                "the grant is not of this platform's coordinator, or has ended; open a version and"
                " push with what that returns",
                reason="GRANT_INVALID",
            )
        return found

    def _newer(self) -> str:
        """The key as it is now; the one that is known if that was asked for just before."""
        with self._lock:
            if not self._key or time.monotonic() >= self._next:
                self._next = time.monotonic() + _REFRESH_SECONDS
                self._key = self._fetch()
            return self._key

    @staticmethod
    def _read(token: str, key: str) -> PushGrant | None:
        if not key:
            return None
        try:
            said = jwt.decode(token, key, algorithms=[ALGORITHM], audience=_AUDIENCE)
        except jwt.InvalidTokenError:
            return None
        return PushGrant(
            store=said["store"], set=said["set"], version=said["version"], epoch=said["epoch"]
        )
