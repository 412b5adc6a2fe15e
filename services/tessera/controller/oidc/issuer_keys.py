"""The keys of an issuer, kept for a while and fetched again for one that is unknown.

Anybody can send a token that names an unknown key. So all callers share one fetch, which nobody's
leaving ends, and between two there is a pause, however many ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import jwt
import structlog

from tessera import errors

log = structlog.get_logger()

FRESH_SECONDS = 600.0
"""After which keys are fetched again: one that the issuer has withdrawn is believed no longer."""

PAUSE_SECONDS = 10.0
"""Between one fetch and the next."""

MAX_KEYS = 100
RSA_BITS = 2048

_KINDS = {
    "RS": ("RSA", None),
    "PS": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Type and curve of a key (RFC 7518, 8037) by the algorithm that it is for."""

Keys = dict[str, dict[str, Any]]


class IssuerKeys:
    """What verifies the tokens of one issuer. Of one event loop.

    Args:
        fetch: the keys (JWK) that it publishes now; raises UnavailableError.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[list[Any]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Keys = {}
        self._problem: errors.UnavailableError | None = None
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str, algorithm: str) -> Any:
        """The public key of this id.

        Raises:
            UnavailableError: the issuer does not answer, and has never (OIDC_ISSUER_UNAVAILABLE).
            UnauthenticatedError: it has no such key, or one for another algorithm (OIDC_KEY).
        """
        if self._clock() - self._fetched > FRESH_SECONDS:
            await self._renew()
        if kid not in self._keys:
            await self._renew()
        if not self._keys and self._problem is not None:
            raise self._problem
        if kid not in self._keys:
            raise errors.UnauthenticatedError(
                "the OIDC token's issuer publishes no key of the id that the token names",
                reason="OIDC_KEY",
                retry_after=PAUSE_SECONDS,
            )
        return _public_key(self._keys[kid], algorithm)

    async def _renew(self) -> None:
        if self._fetching is None:
            if self._clock() - self._tried < PAUSE_SECONDS:
                return
            self._tried = self._clock()
            self._fetching = asyncio.create_task(self._fetch_now())
        await asyncio.shield(self._fetching)

    async def _fetch_now(self) -> None:
        try:
            self._keys = usable(await self._fetch())
            self._fetched, self._problem = self._clock(), None
        except errors.UnavailableError as error:
            # Keys that are there go on.
            log.warning("no keys of an OIDC issuer", reason=error.reason, message=error.message)
            error.retry_after = PAUSE_SECONDS
            self._problem = error
        finally:
            self._fetching = None


def usable(published: Iterable[Any]) -> Keys:
    """Of what an issuer publishes, the public keys for signatures that have an id."""
    keys: Keys = {}
    for key in published:
        if not isinstance(key, dict) or not isinstance(key.get("kid"), str):
            continue
        kinds = {kind for kind, _ in _KINDS.values()}
        if key.get("kty") in kinds and key.get("use", "sig") == "sig" and "d" not in key:
            keys.setdefault(key["kid"], key)
        if len(keys) == MAX_KEYS:
            break
    return keys


def _public_key(key: dict[str, Any], algorithm: str) -> Any:
    """A key, ready to verify by an algorithm that it is for."""
    refusal = errors.UnauthenticatedError(
        f"the OIDC token is signed by {algorithm}, which its issuer's key is not for",
        reason="OIDC_KEY",
    )
    kind = _KINDS.get(algorithm, _KINDS.get(algorithm[:2]))
    if kind is None or kind != (key["kty"], key.get("crv") if kind[1] else None):
        raise refusal
    if key.get("alg", algorithm) != algorithm:
        raise refusal
    try:
        made = jwt.PyJWK(key, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        raise refusal from None
    if key["kty"] == "RSA" and made.key_size < RSA_BITS:
        raise refusal
    return made
