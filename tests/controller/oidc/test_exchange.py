"""What a token of an OIDC issuer is exchanged for, and issuers that are away or odd."""

from __future__ import annotations

import time

import oidc_platform
import pytest
from in_process import InProcessPlatform
from oidc_issuer import DISCOVERY, KINDS, OidcIssuer, write_certificate
from oidc_platform import claims_of, exchange, invalid, refusal

from tessera import errors
from tessera.client import Client
from tessera.client.oidc import from_command, from_file
from tessera.rpc.principal import Principal, Role

issuer, platform, keys = oidc_platform.issuer, oidc_platform.platform, oidc_platform.keys


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_token_is_exchanged_for_one_of_ours(platform, issuer, keys, algorithm):
    issuer.rotate(algorithm)
    given = claims_of(exchange(platform, issuer.sign(groups=["x", "ml"])))
    expected = Principal(subject="oidc:ada", role=Role.SUBMITTER, tenant="shop")
    assert Principal.of(given) == expected
    # The issuer's token ends in 600 s, ours would in 900.
    assert 595 <= given["exp"] - given["iat"] <= 630


def test_a_key_that_has_been_rotated_in_and_one_that_has_been_withdrawn(platform, issuer, keys):
    exchange(platform, issuer.sign(groups="ml"))
    before = issuer.sign(groups="ml")
    issuer.rotate()
    exchange(platform, issuer.sign(groups="ml"))
    exchange(platform, before)
    del issuer.published[:-1]
    keys._fetched = float("-inf")
    assert refusal(platform, before) == invalid("OIDC_KEY")


def test_a_client_by_a_file_that_changes(platform, issuer, tmp_path):
    path = tmp_path / "token"
    path.write_text(issuer.sign(groups="ml") + "\n")
    with Client(platform.address, oidc=from_file(path)) as client:
        assert list(client.jobs.list()) == []
        assert [one.name for one in client.access.tenants()] == ["shop"]
        held = client._connection.token
        held._expires = 0
        path.write_text(issuer.sign(sub="bob", groups="ml"))
        list(client.jobs.list())
        assert claims_of(held.token)["sub"] == "oidc:bob"
        held._expires = 0
        path.unlink()
        with pytest.raises(errors.FailedPreconditionError) as caught:
            list(client.jobs.list())
    assert caught.value.reason == "OIDC_TOKEN_UNREADABLE"


@pytest.mark.processes
def test_a_client_by_a_command(platform, issuer):
    with Client(platform.address, oidc=from_command(f"echo {issuer.sign(groups='ml')}")) as client:
        assert list(client.jobs.list()) == []
    client = Client(platform.address, oidc=from_command("false"))
    with client, pytest.raises(errors.FailedPreconditionError):
        list(client.jobs.list())


def test_it_is_kept_who_exchanged_what_and_it_can_be_revoked(platform, issuer):
    token = exchange(platform, issuer.sign(sub="eve", groups="ml"))
    admin = platform.issue(subject="boss", role=Role.ADMIN, tenant="shop")
    with Client(platform.address, admin) as boss, Client(platform.address, token) as eve:
        entry = next(boss.access.audit())
        assert (entry.subject, entry.role, entry.method, entry.resource, entry.outcome) == (
            "oidc:eve", "submitter", "ExchangeOidcToken", issuer.url, "OK",
        )  # fmt: skip
        (known,) = [one for one in boss.access.tokens() if one.subject == "oidc:eve"]
        assert known.creator == issuer.url
        assert list(eve.jobs.list()) == []
        boss.access.revoke_token(known.id)
        with pytest.raises(errors.UnauthenticatedError) as caught:
            list(eve.jobs.list())
    assert caught.value.reason == "TOKEN_REVOKED"


@pytest.mark.waits
def test_what_has_expired_is_not_kept(platform, issuer):
    with Client(platform.address, platform.token) as client:
        exchange(platform, issuer.sign(sub="old", groups="ml", exp=int(time.time()) - 29))
        time.sleep(1.2)
        exchange(platform, issuer.sign(sub="new", groups="ml"))
        kept = {one.subject for one in client.access.tokens("shop")}
    assert "oidc:new" in kept
    assert "oidc:old" not in kept


def test_what_claims_give(platform, issuer):
    by_claims = issuer.sign(kind="claims", team="shop", level="admin")
    assert Principal.of(claims_of(exchange(platform, by_claims))).role is Role.ADMIN
    nested = issuer.sign(realm={"verified": True})
    assert Principal.of(claims_of(exchange(platform, nested))).role is Role.VIEWER


def test_an_issuer_that_is_away(platform, issuer, keys):
    exchange(platform, issuer.sign(groups="ml"))
    issuer.close()
    keys._fetched = float("-inf")
    try:
        exchange(platform, issuer.sign(groups="ml"))
        keys._keys = {}
        assert refusal(platform, issuer.sign()) == (
            errors.UnavailableError, "OIDC_ISSUER_UNAVAILABLE",
        )  # fmt: skip
    finally:
        issuer.reopen()
    exchange(platform, issuer.sign(groups="ml"))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, 404), (DISCOVERY, 302), (DISCOVERY, b"no JSON"), (DISCOVERY, b"[" * 100_000),
        (DISCOVERY, b"[]"), (DISCOVERY, b"\xff\xfe"), ("/keys", 500), ("/keys", 302),
        ("/keys", b"{}"), ("/keys", b'{"keys": 1}'), ("/keys", b" " * 600_000),
    ],
)  # fmt: skip
def test_an_issuer_that_answers_as_none_does(platform, issuer, keys, path, answer):
    keys._keys, keys._fetched = {}, float("-inf")
    issuer.answers[path] = answer
    try:
        assert refusal(platform, issuer.sign(groups="ml"))[1] == "OIDC_ISSUER_UNAVAILABLE"
    finally:
        del issuer.answers[path]
    assert not issuer.asked["/elsewhere"]
    exchange(platform, issuer.sign(groups="ml"))


def test_an_issuer_is_known_by_its_certificate(tmp_path):
    path, other = tmp_path / "issuer.pem", tmp_path / "other.pem"
    write_certificate(path)
    write_certificate(other)
    with OidcIssuer(path) as secure:
        for authority, good in ((path, True), (other, False), ("", False)):
            config = secure.trusted(certificate_authority=str(authority))
            with InProcessPlatform(tmp_path / f"home-{good}-{authority and 1}", oidc=config) as on:
                if good:
                    exchange(on, secure.sign())
                else:
                    assert refusal(on, secure.sign())[1] == "OIDC_ISSUER_UNAVAILABLE"


def test_a_platform_that_believes_nobody(tmp_path, issuer):
    with InProcessPlatform(tmp_path) as running:
        assert refusal(running, issuer.sign()) == invalid("OIDC_ISSUER")
