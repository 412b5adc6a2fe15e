"""What must stand on the pools, and when to make sure of it again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera.controller.policy.demand import MIB
from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import EndpointRole
from tessera.rpc.principal import Principal, Role

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
        nodes: of its actors, in their order.
        command: arguments of the ensure job, after the interpreter; the controller follows.
        principals: what its actors are, in the order in which it asks for their tokens.
    """

    key: str
    tenant: str
    pool: str
    generation: str
    endpoints: tuple[tuple[EndpointRole, str], ...]
    command: tuple[str, ...]
    principals: tuple[Principal, ...]
    title: str


def parameters(
    pool: str,
    *,
    shards: int,
    data_dir: str,
    disk_cap: int,
    replicas: int = 0,
    limits: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
) -> Desired:
    """The coordinator and the shards.

    Args:
        pool: where they are.
        shards: how many.
        data_dir: where everything is kept.
        disk_cap: bytes of all versions together; 0: none.
        replicas: shards that have each piece; 0: by the nodes.
        limits: arguments that tell them what there are.
        nodes: of the coordinator, then of the shards.
    """
    names = [(EndpointRole.SHARD, f"shard-{index}") for index in range(shards)]
    cap = ("--disk-cap-bytes", str(disk_cap)) if disk_cap else ()
    copies = ("--replicas", str(replicas)) if replicas else ()
    places = ("--nodes", ",".join(nodes)) if nodes else ()
    arguments = ("--shards", str(shards), "--data-dir", data_dir, *cap, *copies, *places, *limits)
    return Desired(
        key=PARAMETERS,
        tenant="default",
        pool=pool,
        generation="/".join(map(str, (shards, disk_cap, *copies[1:]))),
        endpoints=((EndpointRole.COORDINATOR, "coordinator"), *names),
        command=("-m", "tessera.parameters", *arguments),
        principals=(
            Principal(subject="coordinator", role=Role.COORDINATOR, tenant=""),
            # One for each: none may stand in another's place.
            *(Principal(subject=name, role=Role.SHARD, tenant="") for _, name in names),
        ),
        title=PARAMETERS,
    )


def replicas(
    deployment: Deployment,
    model: str,
    limits: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
    flavour: str = "",
) -> Desired:
    """The replicas of a deployment; none while it is being ended.

    Args:
        deployment: of which they are.
        model: the set that they serve, `tenant/set`; they may read no other.
        limits: arguments that tell them what there are.
        nodes: of the replicas, in order.
        flavour: of their devices, where they asked for several or for any.
    """
    demand = deployment.demand
    count = 0 if deployment.deleting else demand.workers
    arguments = [
        "--tenant",
        deployment.tenant,
        "--deployment",
        deployment.name,
        "--generation",
        deployment.generation,
        "--replicas",
        str(count),
        "--cpus",
        f"{demand.cpus:g}",
    ]
    if demand.memory:
        arguments += ["--memory-bytes", str(demand.memory * MIB)]
    if demand.accelerator:
        arguments += ["--accelerator-type", flavour or demand.accelerator]
        arguments += ["--accelerator-count", f"{demand.count:g}"]
    if nodes:
        arguments += ["--nodes", ",".join(nodes)]
    return Desired(
        key=deployment.key,
        tenant=deployment.tenant,
        pool=deployment.pool,
        generation=deployment.generation,
        endpoints=tuple((EndpointRole.REPLICA, f"{deployment.name}/{i}") for i in range(count)),
        command=("-m", "tessera.inference", *arguments, *limits),
        principals=(_replica(deployment, model),),
        # It is a part of a file's name; neither a tenant nor a deployment has a dot in its own.
        title=f"inference-{deployment.tenant}.{deployment.name}",
    )


def _replica(deployment: Deployment, model: str) -> Principal:
    return Principal(
        subject=f"replica:{deployment.key.removeprefix('deployment/')}",
        role=Role.REPLICA,
        tenant=deployment.tenant,
        deployment=deployment.name,
        reads=(model,),
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


def missing_endpoints(
    desired: Desired, live: Sequence[tuple[EndpointRole, str]]
) -> list[tuple[EndpointRole, str]]:
    """What should be registered and is not."""
    known = set(live)
    return [endpoint for endpoint in desired.endpoints if endpoint not in known]
