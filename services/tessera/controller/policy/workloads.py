"""Jobs, deployments and the parameter service as the scheduler knows them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tessera.controller.policy.demand import STANDING_CPUS, Demand
from tessera.controller.policy.job import STOP_GRACE
from tessera.controller.policy.records import Deployment, Job, StoredWorker
from tessera.controller.scheduling.allocation import AllocatedWorker
from tessera.controller.scheduling.decisions import Admission
from tessera.controller.scheduling.node import POOL_LABEL
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import PLATFORM, Hold, WorkerSet, Workload

SERVICES = "parameters"
"""The workload of the coordinator and the shards."""
SERVICES_QUEUE = "~platform"
"""Where it waits: a queue without quota, which nobody sees."""
SERVICES_MEMORY = 256
"""MiB that each of them counts for."""


def of_job(job: Job, hold: Hold | None = None) -> Workload:
    """A job that waits, or runs."""
    return Workload(
        id=job.id,
        queue=job.queue,
        tenant=job.tenant,
        user=job.owner,
        sets=(_set_of(job.demand),),
        flavours=_flavours_of(job.demand),
        priority=min(job.priority, PLATFORM - 1),
        preemptible=job.limits.preemptible,
        min_runtime=job.limits.min_runtime,
        grace=STOP_GRACE,
        limit=job.limits.time_limit or None,
        level=job.demand.within or None,
        level_required=job.demand.within_required,
        arrival=job.create_time,
        hold=hold,
    )


def of_demand(demand: Demand) -> Workload:
    """Work that nobody has sent: what the fleet makes of it."""
    return Workload(
        id="~",
        queue=SERVICES_QUEUE,
        sets=(_set_of(demand),),
        flavours=_flavours_of(demand),
        level=demand.within or None,
        level_required=demand.within_required,
    )


def of_deployment(deployment: Deployment) -> Workload:
    """The replicas of a deployment: people wait for them, so they come before jobs."""
    return Workload(
        id=deployment.key,
        queue=deployment.queue,
        tenant=deployment.tenant,
        user=deployment.owner,
        sets=(_set_of(deployment.demand, name="replica"),),
        flavours=_flavours_of(deployment.demand),
        priority=PLATFORM,
        preemptible=False,
        arrival=deployment.create_time,
    )


def of_services(shards: int, pool: str) -> Workload:
    """The coordinator, then the shards: in the pool where their folders are."""
    shape = WorkerShape(
        cpu=_thousandths(STANDING_CPUS), memory=SERVICES_MEMORY, labels=((POOL_LABEL, pool),)
    )
    return Workload(
        id=SERVICES,
        queue=SERVICES_QUEUE,
        sets=(WorkerSet(name="node", shape=shape, min=shards + 1, max=shards + 1),),
        priority=PLATFORM + 1,
        preemptible=False,
    )


def stored(admission: Admission) -> tuple[StoredWorker, ...]:
    """The places of an admission, as they are kept."""
    return tuple(
        StoredWorker(node=item.node or item.pending, devices=item.devices, group=item.group)
        for item in admission.workers
    )


def allocated(
    work: Workload, flavour: str, workers: Sequence[StoredWorker]
) -> list[AllocatedWorker]:
    """The places of work that runs, as the scheduler keeps them."""
    open_ = work.sets[0].shape
    shape = WorkerShape(
        cpu=open_.cpu,
        memory=open_.memory,
        devices=open_.devices,
        share=open_.share,
        flavour=flavour,
        slice_topology=open_.slice_topology,
    )
    return [
        AllocatedWorker(set=0, node=item.node, shape=shape, devices=item.devices)
        for item in workers
    ]


def _set_of(demand: Demand, name: str = "worker") -> WorkerSet:
    whole = demand.count >= 1
    shape = WorkerShape(
        cpu=_thousandths(demand.cpus),
        memory=demand.memory,
        devices=int(demand.count) if whole else 0,
        share=0 if whole or not demand.device else _thousandths(demand.count),
        slice_topology=demand.topology,
        labels=tuple(sorted(demand.node_selector.items())),
    )
    least = demand.min_workers or demand.workers
    return WorkerSet(name=name, shape=shape, min=least, max=demand.workers)


def _flavours_of(demand: Demand) -> tuple[str, ...]:
    if demand.accelerator in {"", "GPU"}:
        return ()
    return (demand.accelerator, *demand.alternatives)


def _thousandths(amount: float) -> int:
    # Ray counts ten-thousandths: what is left of one is taken for a whole thousandth.
    return math.ceil(round(amount * WHOLE, 6))
