"""How a deployment stands."""

from __future__ import annotations

from dataclasses import replace

from tessera.controller.policy.demand import Demand
from tessera.controller.policy.deployment import DeploymentState, status
from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import Endpoint, EndpointRole
from tessera.controller.scheduling.decisions import Reason


def endpoint(role, name, **labels):
    return Endpoint(
        role=role,
        name=name,
        tenant="",
        incarnation="i",
        control_address="h:1",
        build="0.1.9",
        labels=labels,
    )


def ensure(**fields):
    standard = {"key": "m", "submission_id": "e-1", "pool": "p", "cluster": "c", "generation": "g"}
    return EnsureJob(**{**standard, "started": 90.0, "ended": 100.0, **fields})


def test_how_a_deployment_stands():
    wanted = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=2, cpus=1),
    )
    active = endpoint(EndpointRole.REPLICA, "m/0", state="active", version="4")
    other = endpoint(EndpointRole.REPLICA, "m/1", state="active", version="5")
    empty = endpoint(EndpointRole.REPLICA, "m/1", state="empty", message="pulling")
    assert status(wanted, [], None).state is DeploymentState.PENDING
    now = status(wanted, [active, empty], None)
    assert (now.state, now.ready, now.version) == (DeploymentState.READY, 1, 4)
    assert now.message == "1 of 2 replicas serve. pulling"
    assert status(wanted, [active, other], None).version == 0
    behind = endpoint(EndpointRole.REPLICA, "m/1", state="behind", version="3", message="too old")
    now = status(wanted, [active, behind], None)
    assert (now.ready, now.failed, now.version) == (1, 0, 4)
    now = status(wanted, [behind], None)
    assert (now.state, now.message) == (DeploymentState.PENDING, "too old")
    failed = ensure(status="FAILED", failures=3, message="no GPU")
    assert status(wanted, [], failed).state is DeploymentState.FAILED


def test_a_deployment_has_failed_when_waiting_is_in_vain():
    wanted = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=3, cpus=1),
    )
    active = endpoint(EndpointRole.REPLICA, "m/0", state="active", version="4")
    broken = endpoint(EndpointRole.REPLICA, "m/1", state="failed", message="version 5: no end")
    empty = endpoint(EndpointRole.REPLICA, "m/2", state="empty", message="pulling")

    def stands(*replicas, **changes):
        now = status(replace(wanted, **changes), replicas, None)
        return now.state.value, now.ready, now.failed, now.message

    assert stands(broken) == ("FAILED", 0, 1, "version 5: no end")
    assert stands(broken, empty) == ("PENDING", 0, 1, "version 5: no end")
    text = "1 of 3 replicas serve. version 5: no end"
    assert stands(active, broken, empty) == ("READY", 1, 1, text)
    assert stands(active, broken, deleting=True)[0] == "DELETING"
    for reason, state in (("EXCEEDS_EVERY_POOL", "FAILED"), ("WAITING_FOR_RESOURCES", "PENDING")):
        waiting = (Reason(code=reason, message="too much"),)
        assert stands(pool="", waiting=waiting) == (state, 0, 0, "too much")
