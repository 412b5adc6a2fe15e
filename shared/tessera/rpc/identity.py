"""Who is calling: signed tokens (JWT, EdDSA) and the principal that they stand for.

The controller holds the private key; every other process verifies with the public one.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera import errors

ALGORITHM = "EdDSA"
USER, SERVICE, ATTEMPT = "user", "service", "attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller.

    `role` is `user`, `service` (standing actors) or `attempt` (the driver and ranks of one attempt
    of `job`).
    """

    subject: str
    role: str = USER
    tenant: str = "default"
    job: str = ""
    attempt: int = 0


ANONYMOUS = Principal(subject="anonymous", role="anonymous")

_current: contextvars.ContextVar[Principal] = contextvars.ContextVar("principal", default=ANONYMOUS)


def current_principal() -> Principal:
    """The caller of the RPC that is being served."""
    return _current.get()


def set_principal(principal: Principal) -> contextvars.Token[Principal]:
    """Make `principal` the caller for the rest of this context."""
    return _current.set(principal)


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
        claims: dict[str, object] = {
            "sub": principal.subject,
            "role": principal.role,
            "tenant": principal.tenant,
            "job": principal.job,
            "attempt": principal.attempt,
            "iat": int(time.time()),
        }
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
                return Principal(
                    subject=claims["sub"],
                    role=claims["role"],
                    tenant=claims["tenant"],
                    job=claims.get("job", ""),
                    attempt=int(claims.get("attempt", 0)),
                )
            except jwt.ExpiredSignatureError:
                raise errors.UnauthenticatedError(
                    "the token has expired", reason="TOKEN_EXPIRED"
                ) from None
            except (jwt.InvalidTokenError, KeyError, ValueError):
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
