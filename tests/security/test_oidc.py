"""Tokens of an OIDC issuer: what nobody gets by them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import jwt
import oidc_platform
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oidc_issuer import KINDS, OidcIssuer
from oidc_platform import denied, exchange, invalid, refusal

from tessera import errors
from tessera.client import Client
from tessera.rpc.policy.oidc import AccessRule, PersonRole

issuer, platform, keys = oidc_platform.issuer, oidc_platform.platform, oidc_platform.keys


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, "OIDC_NO_ACCESS"),
        ({"groups": ["mlx", "ROOT", "root "]}, "OIDC_NO_ACCESS"),
        ({"groups": "ml,root"}, "OIDC_NO_ACCESS"),
        ({"groups": {"root": True}}, "OIDC_NO_ACCESS"),
        ({"groups": [["root"]]}, "OIDC_NO_ACCESS"),
        ({"kind": "claims", "team": "shop", "level": "operator"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "shop", "level": "controller"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "shop", "level": ["admin"]}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "shop"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "../default", "level": "admin"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "Shop", "level": "admin"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "", "level": "admin"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "shop\n", "level": "admin"}, "OIDC_CLAIM"),
        ({"kind": "claims", "team": "nowhere", "level": "admin"}, "OIDC_TENANT"),
        ({"groups": "ml", "sub": "ada bob"}, "OIDC_CLAIM"),
        ({"groups": "ml", "sub": ""}, "OIDC_CLAIM"),
        ({"groups": "ml", "sub": "x" * 300}, "OIDC_CLAIM"),
    ],
)
def test_claims_get_nobody_further_than_the_rules(platform, issuer, claims, reason):
    assert refusal(platform, issuer.sign(**claims)) == denied(reason)


def test_times_audience_and_issuer(platform, issuer):
    now = int(time.time())
    for claims, reason in (
        ({"exp": now - 60}, "OIDC_EXPIRED"),
        ({"exp": None}, "OIDC_MALFORMED"),
        ({"exp": "soon"}, "OIDC_MALFORMED"),
        ({"iat": None}, "OIDC_MALFORMED"),
        ({"nbf": now + 120}, "OIDC_NOT_YET"),
        ({"iat": now + 120}, "OIDC_NOT_YET"),
        ({"aud": "other"}, "OIDC_AUDIENCE"),
        ({"aud": ["other", "tessera "]}, "OIDC_AUDIENCE"),
        ({"aud": [["tessera"]]}, "OIDC_AUDIENCE"),
        ({"aud": None}, "OIDC_MALFORMED"),
        ({"iss": issuer.url + "/"}, "OIDC_ISSUER"),
        ({"iss": issuer.url.upper()}, "OIDC_ISSUER"),
        ({"iss": [issuer.url]}, "OIDC_ISSUER"),
    ):
        assert refusal(platform, issuer.sign(groups="root", **claims)) == invalid(reason), claims
    # Within what clocks may differ, and one audience of several.
    exchange(platform, issuer.sign(groups="ml", exp=now - 5, aud=["other", "tessera"]))


def unsigned(header, payload, signature=b""):
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_signatures_that_are_none(platform, issuer):
    claims, kid = issuer.claims(groups="root"), issuer.kid
    for alg in ("none", "None", "NONE", "", None, 7, ["RS256"]):
        token = unsigned({"alg": alg, "kid": kid, "typ": "JWT"}, claims)
        assert refusal(platform, token)[0] is errors.UnauthenticatedError
    pem = (
        issuer.keys[kid]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    # The public key as a shared secret: PyJWT itself would not sign by it.
    start = unsigned({"alg": "HS256", "kid": kid}, claims).rpartition(".")[0]
    digest = hmac.new(pem, start.encode(), hashlib.sha256).digest()
    token = f"{start}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert refusal(platform, token) == invalid("OIDC_ALGORITHM")
    good = issuer.sign(groups="ml")
    head, _, tail = good.rpartition(".")
    assert refusal(platform, f"{head}.{'B' if tail[0] == 'A' else 'A'}{tail[1:]}") == invalid(
        "OIDC_SIGNATURE"
    )
    body = unsigned({}, claims).split(".")[1]
    swapped = f"{good.split('.')[0]}.{body}.{tail}"
    assert refusal(platform, swapped) == invalid("OIDC_SIGNATURE")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_verifies_nothing_by_another_algorithm(platform, issuer, keys):
    kid = issuer.rotate("RS256")
    token = jwt.encode(
        issuer.claims(groups="root"), issuer.keys[kid], algorithm="PS256", headers={"kid": kid}
    )
    assert refusal(platform, token) == invalid("OIDC_KEY")
    # What is too short, private, shared or for other things is no key.
    short = KINDS["RS256"][1]
    weak = rsa.generate_private_key(65537, 1024)
    issuer.published.append({**json.loads(short.to_jwk(weak.public_key())), "kid": "weak"})
    issuer.published.append({"kty": "oct", "k": "AAAA", "kid": "shared"})
    issuer.published.append({**issuer.published[0], "kid": "enc", "use": "enc"})
    for kid, key in (("weak", weak), ("enc", issuer.keys[issuer.kid])):
        token = jwt.encode(issuer.claims(), key, algorithm="RS256", headers={"kid": kid})
        assert refusal(platform, token) == invalid("OIDC_KEY")
    token = jwt.encode(issuer.claims(), "A" * 32, algorithm="HS256", headers={"kid": "shared"})
    assert refusal(platform, token) == invalid("OIDC_ALGORITHM")


def test_nobody_says_where_keys_are_but_the_issuer(platform, issuer, keys):
    with OidcIssuer() as mallory:
        forged = jwt.encode(
            issuer.claims(groups="root"),
            mallory.keys[mallory.kid],
            algorithm="RS256",
            headers={
                "kid": "mallory",
                "jku": f"{mallory.url}/keys",
                "x5u": f"{mallory.url}/keys",
                "jwk": mallory.published[0],
                "x5c": ["MIIB"],
            },
        )
        assert refusal(platform, forged) == invalid("OIDC_KEY")
        # Nor is anybody asked who is only named by a token.
        assert refusal(platform, mallory.sign(groups="root")) == invalid("OIDC_ISSUER")
        assert not mallory.asked


@pytest.mark.parametrize(
    "token",
    [
        "x", "a.b.c", "....", "e30.e30.e30", "\u00e9.e30.", "x" * 16384,
        unsigned({"alg": "RS256", "kid": "k"}, ["no", "object"]),
        unsigned({"alg": "RS256", "crit": ["x"], "x": 1, "kid": "k"}, {"iss": "x"}),
        ".".join(base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=").decode() for _ in "123"),
    ],
)  # fmt: skip
def test_what_is_no_token(platform, token):
    kind, reason = refusal(platform, token)
    assert kind is errors.UnauthenticatedError
    assert reason in {"OIDC_MALFORMED", "OIDC_ISSUER"}


@pytest.mark.waits
def test_what_is_too_large_or_nothing(platform):
    for token in ("", "x" * 16385, "x" * (1 << 20)):
        assert refusal(platform, token) == (errors.InvalidArgumentError, "INVALID_FIELD")
    assert refusal(platform, "x" * (5 << 20))[0] is errors.ResourceExhaustedError


def test_unknown_keys_do_not_make_us_hammer_the_issuer(platform, issuer):
    exchange(platform, issuer.sign(groups="ml"))
    before = issuer.asked["/keys"]
    for number in range(100):
        token = issuer.sign(headers={"kid": f"unknown-{number}"})
        assert refusal(platform, token) == invalid("OIDC_KEY")
    assert issuer.asked["/keys"] - before <= 1


def test_one_bearer_cannot_fill_the_store(platform, issuer, monkeypatch):
    token = issuer.sign(sub="busy", groups="ml")
    reasons = []
    for _ in range(80):
        try:
            exchange(platform, token)
        except errors.ResourceExhaustedError as error:
            reasons.append((error.reason, error.retry_after is not None))
    assert reasons
    assert {*reasons} == {("RATE_LIMITED", True)}
    exchange(platform, issuer.sign(sub="calm", groups="ml"))


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://other.example"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"jwks_uri": "https://user:pw@host/keys"},
        {"jwks_uri": None},
    ],
)
def test_keys_are_fetched_from_nowhere_odd(platform, issuer, keys, told):
    keys._keys, keys._fetched = {}, float("-inf")
    issuer.discovery = told
    try:
        assert refusal(platform, issuer.sign(groups="ml"))[1] == "OIDC_ISSUER_UNAVAILABLE"
    finally:
        issuer.discovery = {}
    exchange(platform, issuer.sign(groups="ml"))


def test_operators_are_made_by_explicit_rules_alone(platform, issuer):
    token = exchange(platform, issuer.sign(sub="root", groups="root"))
    with Client(platform.address, token) as client:
        client.access.create_token("x", "operator", timedelta(hours=1))
    with pytest.raises(errors.InvalidArgumentError):
        AccessRule(tenant="default", role=PersonRole.OPERATOR)
