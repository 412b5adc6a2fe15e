"""Signed tokens (JWT, EdDSA) and the principals that they stand for.

The controller holds the private keys; every other process verifies with the public ones, which it
is told with each heartbeat, together with the tokens that have been revoked.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera import errors
from tessera.rpc.principal import Principal

ALGORITHM = "EdDSA"

SERVICES = ("controller", "parameters", "trainer", "inference")
"""Audiences of tokens (RFC 7519, `aud`): the services that a token may be shown to."""

CACHED = 4096
"""Tokens whose signatures a server remembers to have checked."""


def key_id(public_key: str) -> str:
    """Names a key in the header of the tokens that it signs (RFC 7515, `kid`)."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:16]


class Issuer:
    """Signs tokens with an Ed25519 private key (PEM)."""

    def __init__(self, private_key: bytes) -> None:
        self._key: Any = serialization.load_pem_private_key(private_key, password=None)
        encoded: bytes = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        # Once: every heartbeat tells it.
        self._public_key = encoded.decode()
        self._kid = key_id(self._public_key)

    @staticmethod
    def generate_key() -> bytes:
        """A new private key, PEM."""
        return Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def public_key(self) -> str:
        """The key that verifies what this issuer signs, PEM."""
        return self._public_key

    def issue(
        self,
        principal: Principal,
        *,
        ttl: float | None = None,
        audience: Sequence[str] = SERVICES,
        token_id: str = "",
    ) -> str:
        """A token for `principal`.

        Args:
            principal: who shows it.
            ttl: seconds; None: it does not expire.
            audience: services that it may be shown to.
            token_id: by which it is revoked (`jti`); empty: a random one.
        """
        now = time.time()
        claims = principal.claims() | {
            "iat": int(now),
            "aud": list(audience),
            "jti": token_id or secrets.token_hex(8),
        }
        if ttl is not None:
            claims["exp"] = int(now + ttl)
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._kid})


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    token_id: str
    expires: float


class Verifier:
    """Turns tokens into principals. Thread-safe.

    Args:
        public_keys: PEM keys; a token of any of them is valid.
        service: whose server asks: one of `SERVICES`; empty: any.
    """

    def __init__(self, public_keys: Sequence[str], service: str = "") -> None:
        self._service = service
        self._keys = {key_id(key): key for key in public_keys}
        self._revoked: frozenset[str] = frozenset()
        self._cache: dict[str, _Verified] = {}

    def update(self, public_keys: Sequence[str], revoked: Iterable[str]) -> None:
        """Take over what the controller says now.

        Args:
            public_keys: PEM; those of before are valid no more.
            revoked: ids of tokens that are valid no more.
        """
        self._revoked = frozenset(revoked)
        keys = {key_id(key): key for key in public_keys}
        if keys and keys != self._keys:
            self._keys, self._cache = keys, {}

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            UnauthenticatedError: it is malformed, of another signer, expired, revoked, or for other
                services (TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_AUDIENCE).
        """
        known = self._cache.get(token)
        if known is None:
            known = self._decode(token)
            if len(self._cache) >= CACHED:
                self._cache = {}
            self._cache[token] = known
        if known.expires <= time.time():
            raise errors.UnauthenticatedError(
                "the token has expired; ask for a new one: `tessera token create`",
                reason="TOKEN_EXPIRED",
            )
        self._check_revoked(known)
        return known.principal

    def verify_expired(self, token: str) -> Principal:
        """The principal of a token that may have expired, but is otherwise valid.

        Raises:
            UnauthenticatedError: TOKEN_INVALID, TOKEN_REVOKED.
        """
        known = self._decode(token)
        self._check_revoked(known)
        return known.principal

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Principal:
        """The principal of a call's metadata (`authorization: Bearer …`)."""
        for key, value in metadata or ():
            if key == "authorization":
                text = value.decode(errors="replace") if isinstance(value, bytes) else value
                scheme, _, token = text.partition(" ")
                if scheme.lower() == "bearer" and token:
                    return self.verify(token)
        raise errors.UnauthenticatedError(
            "the call carries no token; send `authorization: Bearer TOKEN`", reason="TOKEN_MISSING"
        )

    def _check_revoked(self, known: _Verified) -> None:
        if known.token_id in self._revoked:
            raise errors.UnauthenticatedError("the token was revoked", reason="TOKEN_REVOKED")

    def _decode(self, token: str) -> _Verified:
        invalid = errors.UnauthenticatedError("the token is not valid here", reason="TOKEN_INVALID")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise invalid
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={"verify_exp": False, "verify_aud": False, "require": ["aud", "jti"]},
            )
            principal = Principal.of(claims)
        except (jwt.InvalidTokenError, ValueError):
            raise invalid from None
        if self._service and self._service not in claims["aud"]:
            raise errors.UnauthenticatedError(
                f"the token is not for {self._service}, but for {', '.join(claims['aud'])}",
                reason="TOKEN_AUDIENCE",
            )
        expires = claims.get("exp", float("inf"))
        return _Verified(principal, claims["jti"], float(expires))
