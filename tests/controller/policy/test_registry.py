"""Who is registered, by whom and for how long."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.controller.policy.registry import LEASE, Endpoint, EndpointRole, Registry
from tessera.rpc.principal import Principal, Role

SHARD = Principal(subject="shard", role=Role.SHARD, tenant="")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def endpoint(role=EndpointRole.SHARD, name="shard-0", incarnation="i", build="0.1.9", **labels):
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
    registry.register(SHARD, endpoint())
    clock.now = LEASE - 1
    registry.heartbeat(SHARD, EndpointRole.SHARD, "shard-0", "i", {"state": "x"})
    clock.now += LEASE - 1
    assert [e.labels for e in registry.resolve(EndpointRole.SHARD)] == [{"state": "x"}]
    clock.now += 2
    assert registry.resolve(EndpointRole.SHARD) == []
    assert len(registry.resolve(EndpointRole.SHARD, include_expired=True)) == 1


def test_a_new_incarnation_replaces_the_old_one():
    registry = Registry("0.1.0")
    registry.register(SHARD, endpoint())
    registry.register(SHARD, endpoint(incarnation="j"))
    with pytest.raises(errors.NotFoundError):
        registry.heartbeat(SHARD, EndpointRole.SHARD, "shard-0", "i", {})
    registry.deregister(SHARD, EndpointRole.SHARD, "shard-0", "i")
    assert [e.incarnation for e in registry.resolve(EndpointRole.SHARD)] == ["j"]


def test_incompatible_builds_are_refused():
    registry = Registry("0.1.0")
    with pytest.raises(errors.FailedPreconditionError) as caught:
        registry.register(SHARD, endpoint(build="0.2.0"))
    assert caught.value.reason == "BUILD_MISMATCH"


def test_names_below_a_slash_and_tenants():
    registry = Registry("0.1.0")
    for tenant, name in [("default", "m/0"), ("default", "m/1"), ("default", "mm/0"), ("x", "m/0")]:
        caller = Principal(subject="s", role=Role.REPLICA, tenant=tenant)
        registry.register(caller, endpoint(EndpointRole.REPLICA, name))
    found = registry.resolve(EndpointRole.REPLICA, "m/", tenant="default")
    assert [e.name for e in found] == ["m/0", "m/1"]
    assert len(registry.resolve(EndpointRole.REPLICA, "m/0")) == 2
