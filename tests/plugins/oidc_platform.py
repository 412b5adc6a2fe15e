"""A platform that believes an issuer, and what it makes of the issuer's tokens."""

from __future__ import annotations

import jwt
import pytest
from in_process import InProcessPlatform
from oidc_issuer import OidcIssuer

from tessera import errors
from tessera.api.controller.v1 import registry_pb2, registry_pb2_grpc
from tessera.client import Client
from tessera.controller.oidc import issuer_keys
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.policy.oidc import AccessRule, PersonRole

RULES = (
    AccessRule(when={"groups": "root"}, tenant="default", role=PersonRole.OPERATOR),
    AccessRule(when={"groups": "ml"}, tenant="shop", role=PersonRole.SUBMITTER),
    AccessRule(when={"kind": "claims"}, tenant_claim="team", role_claim="level"),
    AccessRule(when={"/realm/verified": "true"}, tenant="default", role=PersonRole.VIEWER),
)


@pytest.fixture(scope="module")
def issuer():
    with OidcIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def platform(tmp_path_factory, issuer):
    config = issuer.trusted(*RULES)
    with InProcessPlatform(tmp_path_factory.mktemp("home"), oidc=config) as running:
        with Client(running.address, running.token) as client:
            client.access.create_tenant("shop")
        yield running


@pytest.fixture
def keys(platform, issuer, monkeypatch):
    """The platform's memory of the issuer's keys, without a pause between two fetches."""
    monkeypatch.setattr(issuer_keys, "PAUSE_SECONDS", 0.0)
    return platform.controller.runtime.oidc._keys[issuer.url]


def exchange(platform, token):
    with channel(platform.address) as connection, mapped_errors():
        stub = registry_pb2_grpc.IdentityServiceStub(connection)
        request = registry_pb2.ExchangeOidcTokenRequest(token=token)
        return stub.ExchangeOidcToken(request, timeout=20).token


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def refusal(platform, token):
    with pytest.raises(errors.TesseraError) as caught:
        exchange(platform, token)
    assert "\n" not in caught.value.message
    return type(caught.value), caught.value.reason


def denied(reason):
    return errors.PermissionDeniedError, reason


def invalid(reason):
    return errors.UnauthenticatedError, reason
