"""Tokens of people: who may make which, and what becomes of those that are revoked."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

import pytest
from in_process import InProcessPlatform

from tessera import errors
from tessera.client import Client
from tessera.rpc.principal import Role
from tessera.weights.coordinator import Coordinator

HOUR = timedelta(hours=1)
RANKS = ("viewer", "submitter", "admin", "operator")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        with Client(running.address, running.token) as client:
            client.access.create_tenant("shop")
        running.start_parameters()
        yield running


@pytest.fixture
def as_(platform):
    """Clients of somebody."""
    made = []

    def client(role="operator", tenant="default", token=""):
        token = token or platform.issue(subject="x", role=Role(role), tenant=tenant)
        made.append(Client(platform.address, token))
        return made[-1]

    yield client
    for one in made:
        one.close()


def test_a_token_is_shown_once_and_names_its_bearer(as_):
    secret, made = as_().access.create_token("ada", "submitter", HOUR, tenant="shop")
    assert (made.tenant, made.subject, made.creator) == ("shop", "ada", "x")
    shop = as_(token=secret)
    assert [tenant.name for tenant in shop.access.tenants()] == ["shop"]
    assert list(shop.jobs.list()) == []
    (listed,) = [one for one in as_().access.tokens("shop") if one.id == made.id]
    assert listed == made
    assert secret not in str(listed)


@pytest.mark.parametrize("maker", RANKS)
@pytest.mark.parametrize("role", RANKS)
def test_nobody_makes_what_is_more_than_himself(as_, maker, role):
    may = maker in {"admin", "operator"} and RANKS.index(role) <= RANKS.index(maker)
    access = as_(maker).access
    if may:
        assert access.create_token("bob", role, HOUR)[1].subject == "bob"
    else:
        with pytest.raises(errors.PermissionDeniedError) as caught:
            access.create_token("bob", role, HOUR)
        assert caught.value.reason == "ROLE_DENIED"


def test_tenants_are_the_operators_and_tokens_of_a_tenant_its_admins(as_):
    for call in (
        lambda access: access.create_token("eve", "viewer", HOUR, tenant="default"),
        lambda access: access.tokens("default"),
        lambda access: access.revoke_token("0" * 26, "default"),
    ):
        with pytest.raises(errors.PermissionDeniedError) as caught:
            call(as_("admin", "shop").access)
        assert caught.value.reason == "OTHER_TENANT"
    with pytest.raises(errors.PermissionDeniedError):
        as_("admin", "shop").access.create_tenant("mine")
    with pytest.raises(errors.NotFoundError) as caught:
        as_().access.create_token("eve", "viewer", HOUR, tenant="nobody")
    assert caught.value.reason == "TENANT_NOT_FOUND"


def test_a_revoked_token_is_worthless_at_once_and_after_a_restart_and_everywhere(platform, as_):
    secret, made = as_().access.create_token("mallory", "submitter", HOUR)
    mallory = as_(token=secret)
    assert mallory.sets() == []
    revoked = as_().access.revoke_token(made.id)
    assert revoked.HasField("revoke_time")
    assert as_().access.revoke_token(made.id) == revoked

    def refused(call):
        with pytest.raises(errors.UnauthenticatedError) as caught:
            call()
        return caught.value.reason == "TOKEN_REVOKED"

    assert refused(lambda: list(mallory.jobs.list()))
    # The coordinator hears of it with its next heartbeat.
    coordinator = Coordinator(platform.address, secret)
    for _ in range(100):
        with contextlib.suppress(errors.UnauthenticatedError):
            coordinator.list_sets()
            time.sleep(0.1)
            continue
        break
    assert refused(coordinator.list_sets)
    coordinator.close()
    platform.stop_controller()
    platform.start_controller()
    assert refused(lambda: list(as_(token=secret).jobs.list()))


def test_a_key_is_rotated_and_tokens_of_before_stay(as_):
    reply = as_().access.rotate_keys()
    assert len(reply.keys) == 2
    assert list(as_().jobs.list()) == []


@pytest.mark.waits
def test_what_has_expired_is_told_to_nobody_any_more(platform):
    trust = platform.controller.runtime.trust
    trust.revoke({"gone": time.time() - 1, "soon": time.time() + 0.3, "later": time.time() + 60})
    assert {"soon", "later"} <= set(trust.revoked)
    assert "gone" not in trust.revoked
    time.sleep(0.4)
    assert "soon" not in trust.revoked
    trust.revoke({})
    assert not {"gone", "soon"} & set(trust._revoked)
    assert "later" in trust.revoked
