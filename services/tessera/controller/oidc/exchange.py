"""What an OIDC token is worth: its issuer, its signature, its claims, and who that makes of it.

Of a token that nobody has verified one thing is used, its `iss`, to find the issuer among those
that the operator has named. Where keys are is said by the issuer alone: `jku`, `x5u`, `jwk` and
`x5c` of a token are not looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

from tessera import errors
from tessera.controller.oidc.issuer_http import IssuerHttp
from tessera.controller.oidc.issuer_keys import IssuerKeys
from tessera.rpc.policy.oidc import OidcConfig, TrustedIssuer
from tessera.rpc.principal import Principal
from tessera.rpc.rate import Rate, RateLimiter

log = structlog.get_logger()

LEEWAY_SECONDS = 30.0
"""By which clocks may differ."""

BEARER_RATE = Rate(per_second=1, burst=60)
"""Of exchanges of one bearer, be it a program that runs many times: each leaves two rows."""

ISSUER_RATE = Rate(per_second=100, burst=1_000)

_FAR = 1 << 40
"""A time that never comes."""

_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """What a token is worth.

    Args:
        principal: whom it makes of its bearer.
        issuer: URL of who says so.
        expire_time: until when, in seconds since the epoch.
    """

    principal: Principal
    issuer: str
    expire_time: float


class OidcExchange:
    """Judges the tokens of the issuers that are believed. Of one event loop.

    Args:
        config: what the operator has said.

    Raises:
        InvalidArgumentError: a certificate authority cannot be read (INVALID_FIELD).
    """

    def __init__(self, config: OidcConfig) -> None:
        self._seconds = config.token_seconds
        self._issuers = {issuer.url: issuer for issuer in config.issuers}
        self._http = {url: IssuerHttp(issuer) for url, issuer in self._issuers.items()}
        self._keys = {url: IssuerKeys(http.key_set) for url, http in self._http.items()}
        self._rates = RateLimiter(BEARER_RATE, ISSUER_RATE)

    async def close(self) -> None:
        """Close every connection."""
        for http in self._http.values():
            await http.close()

    async def judge(self, token: str) -> Exchanged:
        """What a token is worth.

        Raises:
            UnauthenticatedError: it is none (OIDC_MALFORMED), of another issuer (OIDC_ISSUER), for
                another audience (OIDC_AUDIENCE), not of this time (OIDC_EXPIRED, OIDC_NOT_YET), or
                its signature is wrong (OIDC_ALGORITHM, OIDC_KEY, OIDC_SIGNATURE).
            PermissionDeniedError: OIDC_CLAIM, OIDC_NO_ACCESS.
            ResourceExhaustedError: its bearer exchanges too often (RATE_LIMITED).
            UnavailableError: the issuer's keys cannot be had (OIDC_ISSUER_UNAVAILABLE).
        """
        header, said = _opened(token)
        issuer = self._issuers.get(str(said))
        if issuer is None:
            raise _invalid("is of an issuer that this platform does not believe", "OIDC_ISSUER")
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms:
            raise _invalid(
                f"is signed by `{str(algorithm)[:20]}`, not by {', '.join(issuer.algorithms)}",
                "OIDC_ALGORITHM",
            )
        if not isinstance(kid, str):
            raise _invalid("names no key (`kid`)", "OIDC_KEY")
        claims = _verified(token, await self._keys[issuer.url].find(kid, algorithm), issuer)
        principal = _admitted(issuer, claims)
        if wait := self._rates.take(issuer.url, principal.subject, time.monotonic()):
            raise errors.ResourceExhaustedError(
                f"'{principal.subject}' exchanges tokens too often; a token is valid for minutes",
                reason="RATE_LIMITED",
                retry_after=wait,
            )
        # What it is exchanged for outlives no token by more than clocks differ.
        ends = min(int(claims["exp"]), _FAR) + LEEWAY_SECONDS
        expires = min(time.time() + self._seconds, ends)
        return Exchanged(principal=principal, issuer=issuer.url, expire_time=expires)


def _admitted(issuer: TrustedIssuer, claims: dict[str, Any]) -> Principal:
    """Who it is; who is somebody, but has no access, can be found in the log."""
    try:
        return issuer.principal_of(claims)
    except errors.PermissionDeniedError as error:
        subject = str(claims.get("sub"))[:128]
        log.info("OIDC token refused", issuer=issuer.url, subject=subject, reason=error.reason)
        raise


def _opened(token: str) -> tuple[dict[str, Any], Any]:
    """Header and issuer of a token, which nobody has verified."""
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except _BROKEN:
        raise _invalid("is no JWT", "OIDC_MALFORMED") from None
    return whole["header"], whole["payload"].get("iss")


def _verified(token: str, key: Any, issuer: TrustedIssuer) -> dict[str, Any]:
    """The claims of a token that an issuer has signed, for us, and for now."""
    algorithm = jwt.get_unverified_header(token)["alg"]
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=issuer.audiences,
            issuer=issuer.url,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "exp", "iat"]},
        )
    except jwt.InvalidSignatureError:
        raise _invalid("does not bear its issuer's signature", "OIDC_SIGNATURE") from None
    except jwt.ExpiredSignatureError:
        raise _invalid("has expired", "OIDC_EXPIRED") from None
    except jwt.ImmatureSignatureError:
        raise _invalid("is not valid yet; do the clocks agree?", "OIDC_NOT_YET") from None
    except jwt.InvalidAudienceError:
        meant = ", ".join(issuer.audiences)
        raise _invalid(f"is for another audience than {meant}", "OIDC_AUDIENCE") from None
    except _BROKEN as error:
        raise _invalid(f"is not valid: {str(error)[:100]}", "OIDC_MALFORMED") from None
    return claims


def _invalid(what: str, reason: str) -> errors.UnauthenticatedError:
    return errors.UnauthenticatedError(f"the OIDC token {what}", reason=reason)
