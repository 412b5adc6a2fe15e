"""Tokens of workloads: short, and renewed for as long as the workload stands."""

from __future__ import annotations

import asyncio
import pickle
import time

import jwt
import pytest
from in_process import InProcessPlatform

from tessera import errors
from tessera.api.controller.v1 import registry_pb2, registry_pb2_grpc
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.client import Client
from tessera.controller.services import identity
from tessera.rpc import credentials
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.credentials import Credentials
from tessera.rpc.principal import Principal, Role
from tessera.weights.coordinator import Coordinator

REPLICA = Principal(
    subject="replica:default/chat", role=Role.REPLICA, deployment="chat", reads=("default/s",)
)


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        running.start_parameters()
        running.deploy("chat", "s")
        yield running


@pytest.fixture
def issue(platform):
    return platform.controller.runtime.issuer.issue


def renew(platform, token):
    with channel(platform.address) as connection, mapped_errors():
        stub = registry_pb2_grpc.IdentityServiceStub(connection)
        return stub.RenewToken(registry_pb2.RenewTokenRequest(token=token), timeout=10).token


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_what_stands_is_renewed_also_with_a_token_that_has_expired(platform, issue):
    for ttl in (60, -60):
        fresh = claims(renew(platform, issue(REPLICA, ttl=ttl)))
        assert fresh["exp"] - fresh["iat"] == identity.WORKLOAD_SECONDS
        assert Principal.of(fresh) == REPLICA


@pytest.mark.parametrize(
    "principal",
    [
        *(Principal(subject="ada", role=role) for role in (Role.VIEWER, Role.OPERATOR)),
        Principal(subject="r", role=Role.REPLICA, deployment="gone"),
        Principal(subject="r", role=Role.REPLICA, deployment="chat", tenant="shop"),
        Principal(subject="a", role=Role.ATTEMPT, job="job-nope", attempt=1),
        Principal(subject="controller", role=Role.CONTROLLER, tenant=""),
    ],
    ids=str,
)
def test_nothing_else_is(platform, issue, principal):
    with pytest.raises(errors.UnauthenticatedError) as caught:
        renew(platform, issue(principal, ttl=60))
    assert caught.value.reason == "WORKLOAD_GONE"


def test_an_attempt_is_renewed_until_it_ends(platform, issue):
    spec = JobSpec(
        name="j", model=ModelSpec(family="gpt"), data=DataSpec(files=["stdlib://**/*.py"])
    )
    with Client(platform.address, platform.token) as client:
        job = client.jobs.create(spec)
    platform.admit(job.id)
    token = issue(
        Principal(subject="a", role=Role.ATTEMPT, job=job.id, attempt=1, writes="default/j"),
        ttl=60,
    )
    assert claims(renew(platform, token))["writes"] == "default/j"
    other = Principal(subject="a", role=Role.ATTEMPT, job=job.id, attempt=2)
    with pytest.raises(errors.UnauthenticatedError):
        renew(platform, issue(other, ttl=60))


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_what_is_no_token_is_not_renewed(platform, token):
    with pytest.raises((errors.UnauthenticatedError, errors.InvalidArgumentError)):
        renew(platform, token)


@pytest.mark.waits
def test_a_process_always_shows_a_valid_one(platform, issue, monkeypatch):
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.1)
    first = issue(REPLICA, ttl=4)
    held = Credentials(platform.address, first)
    assert held.token == first
    assert first not in repr(held)
    time.sleep(2.1)
    assert held.token == first, "nobody waits for the next"
    for _ in range(100):
        if held.token != first:
            break
        time.sleep(0.05)
    assert claims(held.token)["exp"] > time.time() + identity.WORKLOAD_SECONDS / 2
    copy = pickle.loads(pickle.dumps(held))
    assert copy.token == held.token


def test_one_that_comes_back_after_hours_is_let_in(platform, issue):
    reader = Coordinator(platform.address, Credentials(platform.address, issue(REPLICA, ttl=-9)))
    with pytest.raises(errors.NotFoundError) as caught:
        reader.get_manifest("default/s")
    assert caught.value.reason == "SET_NOT_FOUND"
    reader.close()


@pytest.mark.waits
def test_a_controller_that_is_away_is_asked_again(platform, issue, monkeypatch):
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(credentials, "RENEW_SECONDS", 1.0)
    first = issue(REPLICA, ttl=60)
    held = Credentials("127.0.0.1:1", first)
    held._due = 0.0
    assert held.token == first
    time.sleep(0.3)
    held._controller = platform.address
    for _ in range(100):
        if held.token != first:
            return
        time.sleep(0.1)
    pytest.fail("never renewed")


@pytest.mark.measures
async def test_an_event_loop_waits_for_no_renewal(platform, issue):
    first = issue(REPLICA, ttl=-9)
    away = Credentials("127.0.0.1:1", first)
    begin = time.monotonic()
    assert away.token == first
    assert time.monotonic() - begin < 0.5
    held = Credentials(platform.address, first)
    assert held.token == first
    for _ in range(100):
        if held.token != first:
            break
        await asyncio.sleep(0.1)
    assert claims(held.token)["exp"] > time.time()
    late = Credentials(platform.address, first)
    await credentials.settle(late)
    assert late.token != first
    await credentials.settle("a token that nobody renews")
