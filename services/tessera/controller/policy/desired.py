"""What must stand on the pools, and when to make sure of it again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import Role

PATIENCE = 15.0
"""Seconds that something may be missing: Ray itself brings an actor back in two or three."""

PARAMETERS = "parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """A set of actors that an ensure job makes.

    Args:
        key: tells it from others.
        tenant: whose it is; its actors' tokens carry it.
        pool: where it stands.
        generation: changes when what is desired changes.
        endpoints: what must be registered while it stands.
        command: arguments of the ensure job, after the interpreter; controller and ticket follow.
        subject: principal of its actors.
    """

    key: str
    tenant: str
    pool: str
    generation: str
    endpoints: tuple[tuple[Role, str], ...]
    command: tuple[str, ...]
    subject: str
    title: str


def parameters(pool: str, *, shards: int, data_dir: str, disk_cap: int) -> Desired:
    """The coordinator and the shards."""
    names = [(Role.SHARD, f"shard-{index}") for index in range(shards)]
    cap = ("--disk-cap-bytes", str(disk_cap)) if disk_cap else ()
    arguments = ("--shards", str(shards), "--data-dir", data_dir, *cap)
    return Desired(
        key=PARAMETERS,
        tenant="default",
        pool=pool,
        generation=f"{shards}/{disk_cap}",
        endpoints=((Role.COORDINATOR, "coordinator"), *names),
        command=("-m", "tessera.parameters", *arguments),
        subject="service:parameters",
        title=PARAMETERS,
    )


def replicas(deployment: Deployment) -> Desired:
    """The replicas of a deployment; none while it is being ended."""
    demand = deployment.demand
    count = 0 if deployment.deleting else demand.workers
    arguments = [
        "--deployment",
        deployment.name,
        "--replicas",
        str(count),
        "--cpus",
        f"{demand.cpus:g}",
    ]
    if demand.accelerator:
        arguments += ["--accelerator-type", demand.accelerator]
        arguments += ["--accelerator-count", f"{demand.count:g}"]
    return Desired(
        key=deployment.key,
        tenant=deployment.tenant,
        pool=deployment.pool,
        generation=deployment.generation,
        endpoints=tuple((Role.REPLICA, f"{deployment.name}/{i}") for i in range(count)),
        command=("-m", "tessera.inference", *arguments),
        subject="service:inference",
        title=f"inference-{deployment.name}",
    )


def due(
    desired: Desired, ensure: EnsureJob | None, *, cluster: str, missing: float, now: float
) -> bool:
    """Whether an ensure job must run now.

    Args:
        desired: what must stand.
        ensure: its newest ensure job.
        cluster: the Ray cluster that the pool is now.
        missing: seconds that an endpoint of it has been missing; 0: none is.
        now: seconds since the epoch.
    """
    if ensure is None:
        return True
    if ensure.status == "RUNNING":
        return False
    ended = ensure.ended or ensure.started
    if ensure.status == "FAILED":
        return now - ended >= min(30.0, 2.0 ** min(ensure.failures, 8))
    if ensure.generation != desired.generation or ensure.cluster != cluster:
        return True
    return missing > PATIENCE and now - ended > PATIENCE


def missing_endpoints(desired: Desired, live: Sequence[tuple[Role, str]]) -> list[tuple[Role, str]]:
    """What should be registered and is not."""
    known = set(live)
    return [endpoint for endpoint in desired.endpoints if endpoint not in known]
