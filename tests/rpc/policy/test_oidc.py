"""What claims make of a token's bearer, whatever they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.rpc.policy.oidc import (
    AccessRule,
    OidcConfig,
    PersonRole,
    TrustedIssuer,
    Username,
    find_claim,
    is_safe,
)
from tessera.rpc.policy.rule import PEOPLE
from tessera.rpc.principal import TENANT, Role

NAMES = ("sub", "groups", "team", "level", "email", "email_verified", "/a/b", "a")
WORDS = ("ada", "root", "ml", "shop", "admin", "operator", "controller", "attempt:j/1", "true", "")
TEXTS = st.sampled_from(WORDS) | st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(st.sampled_from(NAMES) | TEXTS, JSON, max_size=6)
WHEN = st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=2)
TENANTS = st.sampled_from([{"tenant": "shop"}, {"tenant": "lab"}, {"tenant_claim": "team"}])
ROLES = st.sampled_from([{"role": role} for role in PersonRole] + [{"role_claim": "level"}])


@st.composite
def rules(draw):
    role = draw(ROLES)
    when = draw(WHEN)
    if role.get("role") is PersonRole.OPERATOR and not when:
        when = {"groups": "root"}
    return AccessRule(when=when, **draw(TENANTS), **role)


@st.composite
def issuers(draw):
    return issuer(
        *draw(st.lists(rules(), min_size=1, max_size=4)),
        required_claims=draw(WHEN),
        username=Username(
            prefix=draw(st.sampled_from(["", "oidc:", "attempt:"])),
            claim=draw(st.sampled_from(["sub", "email", "/a/b"])),
        ),
    )


def issuer(*access, **fields):
    given = {"url": "https://i.example", "audiences": ("t",), "username": Username(prefix="")}
    return TrustedIssuer(access=access, **{**given, **fields})


def has(claims, name, value):
    claim = find_claim(claims, name)
    if isinstance(claim, bool):
        return {"true": True, "false": False}.get(value) is claim
    return value in claim if isinstance(claim, list) else claim == value


def outcome(trusted, claims):
    try:
        return trusted.principal_of(claims), ""
    except errors.PermissionDeniedError as error:
        return None, error.reason


@settings(deadline=None)
@given(issuers(), CLAIMS)
def test_whoever_is_let_in_is_so_by_the_first_rule_that_is_for_it(trusted, claims):
    matching = [
        rule for rule in trusted.access if all(has(claims, n, v) for n, v in rule.when.items())
    ]
    who, reason = outcome(trusted, claims)
    if who is None:
        assert reason == "OIDC_CLAIM" or (reason == "OIDC_NO_ACCESS" and not matching)
        return
    rule = matching[0]
    assert all(has(claims, name, value) for name, value in trusted.required_claims.items())
    assert who.tenant == (rule.tenant or claims[rule.tenant_claim])
    assert re.fullmatch(TENANT, who.tenant)
    assert who.role in PEOPLE
    assert who.role == (rule.role or claims[rule.role_claim])
    if who.role is Role.OPERATOR:
        assert rule.role is PersonRole.OPERATOR
        assert rule.when
    assert who.subject.startswith(trusted.username.prefix)
    assert not who.subject.startswith(("attempt:", "replica:", "service:"))
    assert who.subject.isascii()
    assert who.subject.isprintable()
    assert (who.job, who.attempt, who.deployment, who.writes, who.reads) == ("", 0, "", "", ())


@settings(deadline=None)
@given(CLAIMS)
def test_more_claims_never_make_more_of_somebody_whom_no_rule_is_for(claims):
    strict = issuer(AccessRule(when={"groups": "nobody-has-this"}, tenant="shop", role_claim="x"))
    with pytest.raises(errors.PermissionDeniedError):
        strict.principal_of({"sub": "ada", **claims})


def test_an_address_that_is_not_verified_is_nobodys():
    by_email = issuer(
        AccessRule(tenant="shop", role=PersonRole.VIEWER),
        username=Username(prefix="", claim="email"),
    )
    assert by_email.principal_of({"email": "a@b.c"}).subject == "a@b.c"
    assert by_email.principal_of({"email": "a@b.c", "email_verified": True}).subject == "a@b.c"
    for verified in (False, "true", None, 1):
        with pytest.raises(errors.PermissionDeniedError):
            by_email.principal_of({"email": "a@b.c", "email_verified": verified})


@pytest.mark.parametrize(
    "url",
    [
        "http://i.example", "ftp://i.example", "https://", "https://u:p@i.example", "i.example",
        "https://i.example#x", "https://i.example:port", "https://i.ex\n", "https://\u00e9.example",
        "file:///etc/passwd", "http://127.0.0.1.example", "https://[::1",
    ],
)  # fmt: skip
def test_urls_that_are_no_issuers(url):
    assert not is_safe(url)
    with pytest.raises(errors.InvalidArgumentError):
        issuer(AccessRule(tenant="shop", role=PersonRole.VIEWER), url=url)


@pytest.mark.parametrize("url", ["https://i.example/a?b", "http://127.0.0.1:80/x", "http://[::1]/"])
def test_urls_that_are_safe(url):
    assert is_safe(url)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"role": PersonRole.VIEWER}, "tenant"),
        ({"tenant": "a", "tenant_claim": "b", "role": PersonRole.VIEWER}, "tenant"),
        ({"tenant": "a"}, "role"),
        ({"tenant": "a", "role": PersonRole.VIEWER, "role_claim": "b"}, "role"),
        ({"tenant": "a", "role": PersonRole.OPERATOR}, "role"),
    ],
)
def test_rules_that_say_too_little_or_too_much(fields, at):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        AccessRule(**fields)
    assert caught.value.violations[0].field == at


def test_one_issuer_is_named_once():
    one = issuer(AccessRule(tenant="shop", role=PersonRole.VIEWER))
    with pytest.raises(errors.InvalidArgumentError):
        OidcConfig(issuers=(one, one))
