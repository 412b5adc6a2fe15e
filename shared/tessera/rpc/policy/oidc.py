"""Which OIDC issuers are believed, and what a token of theirs makes of its bearer. Pure.

Nobody is let in by default: a token needs the issuer's required claims and a rule of `access` that
is for it, and the first such rule decides alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from tessera import errors
from tessera.rpc.principal import TENANT, Principal, Role

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Of signatures: by a key pair. Nothing by `none`, nor by a secret that is shared."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that may be asked without TLS: nobody stands between."""

_SUBJECT = r"[!-~]{1,128}"
_RESERVED = r"(attempt|replica|service):.*|anonymous|controller|coordinator|shard"
"""What workloads are called: nobody else is to be taken for one of them in the audit."""

_CLAIM = {"least": 1, "most": 255}


class PersonRole(StrEnum):
    """What an issuer's token may make of its bearer: no workload."""

    VIEWER = Role.VIEWER.value
    SUBMITTER = Role.SUBMITTER.value
    ADMIN = Role.ADMIN.value
    OPERATOR = Role.OPERATOR.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Username:
    """How a token names its bearer.

    Args:
        prefix: before what the token says, so that no two issuers name the same one; may be empty.
        claim: that says it.
    """

    prefix: str = field(metadata={"most": 64})
    claim: str = field(default="sub", metadata=_CLAIM)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What some tokens of an issuer are worth.

    Args:
        when: values of claims that a token must have, all of them; none: every token. A claim that
            is a list must have the value among others.
        tenant: in which its bearer acts.
        tenant_claim: that names it instead.
        role: what its bearer may do.
        role_claim: that says it instead: viewer, submitter or admin. Nobody becomes an operator by
            what a claim says, but only by `role: operator` here.
    """

    when: Mapping[str, str] = field(default_factory=dict, metadata={"most": 16})
    tenant: str = field(
        default="", metadata={"pattern": TENANT, "hint": "the name of a tenant: a-z, 0-9, `-`"}
    )
    tenant_claim: str = field(default="", metadata=_CLAIM)
    role: PersonRole | None = None
    role_claim: str = field(default="", metadata=_CLAIM)

    def __post_init__(self) -> None:
        if bool(self.tenant) == bool(self.tenant_claim):
            raise _wrong("tenant", "or `tenant_claim` must be there, and not both")
        if bool(self.role) == bool(self.role_claim):
            raise _wrong("role", "or `role_claim` must be there, and not both")
        if self.role is PersonRole.OPERATOR and not self.when:
            raise _wrong("role", "is operator for every token of the issuer; say `when`")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer, and what its tokens are worth.

    Args:
        url: exactly as its tokens say it (`iss`); `/.well-known/openid-configuration` below it says
            where its keys are.
        audiences: of which a token must name one (`aud`).
        username: how it names its bearer.
        access: rules, of which the first that is for a token decides.
        required_claims: values of claims that every token must have.
        certificate_authority: file of the certificates (PEM) that its own is checked by; empty:
            those of the system.
        algorithms: of signatures.
    """

    url: str = field(metadata={"most": 200})
    audiences: tuple[str, ...] = field(metadata={"least": 1, "most": 16})
    username: Username
    access: tuple[AccessRule, ...] = field(metadata={"least": 1, "most": 1000})
    required_claims: Mapping[str, str] = field(default_factory=dict, metadata={"most": 16})
    certificate_authority: str = field(
        default="", metadata={"pattern": "/.*", "hint": "the absolute path of a file"}
    )
    algorithms: tuple[str, ...] = field(default=ALGORITHMS, metadata={"least": 1, "most": 10})

    def __post_init__(self) -> None:
        if not is_safe(self.url) or urlsplit(self.url).query:
            raise _wrong("url", f"must be an https:// URL, but here is `{self.url}`")
        if "" in self.audiences:
            raise _wrong("audiences", "must not have an empty one")
        if unknown := sorted({*self.algorithms} - {*ALGORITHMS}):
            raise _wrong("algorithms", f"has `{unknown[0]}`; there are: {', '.join(ALGORITHMS)}")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.url).hostname in LOOPBACK

    def principal_of(self, claims: Mapping[str, Any]) -> Principal:
        """Who shows a token with these claims, which has been verified.

        Raises:
            PermissionDeniedError: the token lacks a claim (OIDC_CLAIM), or there is no rule for it
                (OIDC_NO_ACCESS).
        """
        for name, value in self.required_claims.items():
            if not _has(claims, name, value):
                raise _denied(f"its claim `{name}` is not what the platform's operator asks for")
        subject = self._subject(claims)
        rule = next((one for one in self.access if _fits(one, claims)), None)
        if rule is None:
            raise errors.PermissionDeniedError(
                f"no rule of the platform's operator lets '{subject}' of {self.url} in",
                reason="OIDC_NO_ACCESS",
            )
        tenant = rule.tenant or _said(claims, rule.tenant_claim)
        if not re.fullmatch(TENANT, tenant):
            raise _denied(f"its claim `{rule.tenant_claim}` names no tenant")
        return Principal(subject=subject, role=_role(rule, claims), tenant=tenant)

    def _subject(self, claims: Mapping[str, Any]) -> str:
        name = self.username.claim
        subject = _said(claims, name)
        if name == "email" and claims.get("email_verified", True) is not True:
            raise _denied("its issuer has not verified the address in its claim `email`")
        subject = f"{self.username.prefix}{subject}" if subject else ""
        if not re.fullmatch(_SUBJECT, subject) or re.fullmatch(_RESERVED, subject):
            raise _denied(f"its claim `{name}` says nobody's name")
        return subject


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcConfig:
    """Every issuer that is believed.

    Args:
        issuers: of tokens that may be exchanged.
        token_seconds: for which what they are exchanged for is valid.
    """

    issuers: tuple[TrustedIssuer, ...] = field(metadata={"least": 1, "most": 64})
    token_seconds: float = field(default=900.0, metadata={"least": 60, "most": 3600})

    def __post_init__(self) -> None:
        urls = [issuer.url for issuer in self.issuers]
        for index, url in enumerate(urls):
            if url in urls[:index]:
                raise _wrong(f"issuers[{index}].url", f"is that of issuers[{urls.index(url)}] too")


def is_safe(url: str) -> bool:
    """Whether what stands at a URL can be believed to come from its host."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = parts.scheme == "http" and host in LOOPBACK
    odd = parts.username or parts.password or parts.fragment or not url.isascii()
    return bool(host) and (parts.scheme == "https" or plain) and not odd and url.isprintable()


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the path to it: `/realm_access/roles` (RFC 6901); None: none."""
    if name in claims or not name.startswith("/"):
        return claims.get(name)
    value: Any = claims
    for part in name[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _fits(rule: AccessRule, claims: Mapping[str, Any]) -> bool:
    return all(_has(claims, name, value) for name, value in rule.when.items())


def _has(claims: Mapping[str, Any], name: str, value: str) -> bool:
    claim = find_claim(claims, name)
    if isinstance(claim, bool):
        return value == str(claim).lower()
    if isinstance(claim, list):
        return any(isinstance(one, str) and one == value for one in claim)
    return isinstance(claim, str) and claim == value


def _said(claims: Mapping[str, Any], name: str) -> str:
    """What a claim says, if it is a text."""
    value = find_claim(claims, name)
    return value if isinstance(value, str) else ""


def _role(rule: AccessRule, claims: Mapping[str, Any]) -> Role:
    if rule.role is not None:
        return Role(rule.role.value)
    said = _said(claims, rule.role_claim)
    if said not in {PersonRole.VIEWER, PersonRole.SUBMITTER, PersonRole.ADMIN}:
        raise _denied(f"its claim `{rule.role_claim}` is none of viewer, submitter, admin")
    return Role(said)


def _denied(why: str) -> errors.PermissionDeniedError:
    return errors.PermissionDeniedError(f"the OIDC token: {why}", reason="OIDC_CLAIM")


def _wrong(name: str, problem: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at(name, problem, "INVALID_FIELD")
