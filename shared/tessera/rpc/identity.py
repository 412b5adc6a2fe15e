"""Signed tokens (JWT, EdDSA) and the principals that they stand for.

The controller holds the private key; every other process verifies with the public one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera import errors
from tessera.rpc.principal import Principal

ALGORITHM = "EdDSA"


class Issuer:
    """Signs tokens with an Ed25519 private key (PEM)."""

    def __init__(self, private_key: bytes) -> None:
        self._key = serialization.load_pem_private_key(private_key, password=None)

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
        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def issue(self, principal: Principal, *, ttl: float | None = None) -> str:
        """A token for `principal`; `ttl` in seconds, None: it does not expire."""
        claims = principal.claims() | {"iat": int(time.time())}
        if ttl is not None:
            claims["exp"] = int(time.time() + ttl)
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)  # type: ignore[arg-type]


class Verifier:
    """Turns tokens into principals.

    Args:
        public_keys: PEM keys; a token of any of them is valid.
    """

    def __init__(self, public_keys: Sequence[str]) -> None:
        self._keys = list(public_keys)

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            UnauthenticatedError: it is malformed, expired or of another signer.
        """
        for key in self._keys:
            try:
                claims = jwt.decode(token, key, algorithms=[ALGORITHM])
                return Principal.of(claims)
            except jwt.ExpiredSignatureError:
                raise errors.UnauthenticatedError(
                    "the token has expired", reason="TOKEN_EXPIRED"
                ) from None
            except (jwt.InvalidTokenError, ValueError):
                continue
        raise errors.UnauthenticatedError("the token is not valid here", reason="TOKEN_INVALID")

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Principal:
        """The principal of a call's metadata (`authorization: Bearer …`)."""
        for key, value in metadata or ():
            if key == "authorization":
                text = value.decode() if isinstance(value, bytes) else value
                scheme, _, token = text.partition(" ")
                if scheme.lower() == "bearer" and token:
                    return self.verify(token)
        raise errors.UnauthenticatedError(
            "the call carries no token; send `authorization: Bearer TOKEN`", reason="TOKEN_MISSING"
        )
