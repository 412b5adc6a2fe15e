"""Who is registered, by whom and for how long."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.controller.policy.registry import LEASE, Endpoint, Registry, Role
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal

SERVICE_CALLER = Principal(subject="service:parameters", role=SERVICE)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def endpoint(role=Role.SHARD, name="shard-0", incarnation="i", build="0.1.9", **labels):
    return Endpoint(
        role=role,
        name=name,
        tenant="",
        incarnation=incarnation,
        control_address="h:1",
        build=build,
        labels=labels,
    )


def test_a_lease_runs_out_and_the_endpoint_is_unseen_not_gone():
    clock = Clock()
    registry = Registry("0.1.0", clock)
    registry.register(SERVICE_CALLER, endpoint())
    clock.now = LEASE - 1
    registry.heartbeat(SERVICE_CALLER, Role.SHARD, "shard-0", "i", {"state": "x"})
    clock.now += LEASE - 1
    assert [e.labels for e in registry.resolve(Role.SHARD)] == [{"state": "x"}]
    clock.now += 2
    assert registry.resolve(Role.SHARD) == []
    assert len(registry.resolve(Role.SHARD, include_expired=True)) == 1


def test_a_new_incarnation_replaces_the_old_one():
    registry = Registry("0.1.0")
    registry.register(SERVICE_CALLER, endpoint())
    registry.register(SERVICE_CALLER, endpoint(incarnation="j"))
    with pytest.raises(errors.NotFoundError):
        registry.heartbeat(SERVICE_CALLER, Role.SHARD, "shard-0", "i", {})
    registry.deregister(SERVICE_CALLER, Role.SHARD, "shard-0", "i")
    assert [e.incarnation for e in registry.resolve(Role.SHARD)] == ["j"]


def test_incompatible_builds_are_refused():
    registry = Registry("0.1.0")
    with pytest.raises(errors.FailedPreconditionError) as caught:
        registry.register(SERVICE_CALLER, endpoint(build="0.2.0"))
    assert caught.value.reason == "BUILD_MISMATCH"


@pytest.mark.parametrize(
    ("caller", "asked"),
    [
        (Principal(subject="ada"), endpoint()),
        (SERVICE_CALLER, endpoint(Role.TRAINER, "job-1")),
        (Principal(subject="a", role=ATTEMPT, job="job-2"), endpoint(Role.TRAINER, "job-1")),
        (Principal(subject="a", role=ATTEMPT, job="job-1"), endpoint()),
    ],
)
def test_who_may_register_what(caller, asked):
    with pytest.raises(errors.PermissionDeniedError):
        Registry("0.1.0").register(caller, asked)


def test_names_below_a_slash_and_tenants():
    registry = Registry("0.1.0")
    for tenant, name in [("default", "m/0"), ("default", "m/1"), ("default", "mm/0"), ("x", "m/0")]:
        caller = Principal(subject="s", role=SERVICE, tenant=tenant)
        registry.register(caller, endpoint(Role.REPLICA, name))
    found = registry.resolve(Role.REPLICA, "m/", tenant="default")
    assert [e.name for e in found] == ["m/0", "m/1"]
    assert len(registry.resolve(Role.REPLICA, "m/0")) == 2
