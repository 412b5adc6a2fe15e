"""What a job must pass before it is accepted: defaults, limits, and what the platform has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import spec_pb2
from tessera.controller.policy import workloads
from tessera.controller.policy.demand import MIB, Demand, describe
from tessera.controller.policy.limits import JobLimits
from tessera.controller.runtime import Runtime
from tessera.controller.scheduling import tpu
from tessera.controller.store import queues
from tessera.spec import check, rate_is_open, resolve
from tessera.spec.quantity import quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A spec with every default filled in, and what it asks for."""

    spec: spec_pb2.JobSpec
    demand: Demand


async def validate_spec(runtime: Runtime, tenant: str, spec: spec_pb2.JobSpec) -> Accepted:
    """Resolve and check a spec.

    Raises:
        InvalidArgumentError: the spec is wrong, or asks for more than any pool could ever hold.
        NotFoundError: it names a queue, set or version that does not exist.
        UnavailableError: it starts from a version and the coordinator cannot be asked.
    """
    resolved = resolve(spec)
    check(resolved)
    await runtime.database.read(queues.check, resolved.queue, tenant)
    demand = demand_of(resolved)
    await fits(runtime, demand, _JOB_FIELDS)
    for field, origin in resolved.model.init.ListFields():
        await runtime.coordinator.check(tenant, origin, f"model.init.{field.name}")
    if rate_is_open(spec):
        resolved = await _as_wide(runtime, tenant, spec, resolved)
    return Accepted(spec=resolved, demand=demand)


async def _as_wide(
    runtime: Runtime, tenant: str, spec: spec_pb2.JobSpec, resolved: spec_pb2.JobSpec
) -> spec_pb2.JobSpec:
    """The spec with the learning rate that suits the width of the version it starts from."""
    for field, origin in resolved.model.init.ListFields():
        width = await runtime.coordinator.width(tenant, origin, f"model.init.{field.name}")
        return resolve(spec, width=width)
    return resolved


_JOB_FIELDS = {
    "workers": "resources.workers",
    "cpus": "resources.cpus_per_worker",
    "memory": "resources.memory_per_worker",
    "accelerator": "resources.accelerator",
    "node_selector": "resources.node_selector",
    "within": "resources.topology",
}
DEPLOYMENT_FIELDS = {
    "workers": "replicas",
    "cpus": "cpus_per_replica",
    "memory": "memory_per_replica",
    "accelerator": "accelerator",
    "node_selector": "node_selector",
    "within": "replicas",
}


async def fits(runtime: Runtime, demand: Demand, fields: dict[str, str]) -> None:
    """Raise if no pool could hold a demand even when it is empty and has grown.

    A pool that has not been seen yet could hold anything.

    Raises:
        InvalidArgumentError: EXCEEDS_EVERY_POOL, with the field that asks for too much; or it names
            a TPU slice that does not exist, or other workers than those of whole slices
            (TPU_UNKNOWN, TPU_TOPOLOGY, TPU_WORKERS).
    """
    _check_slice(demand, fields)
    states = runtime.pools.all()
    if any(not state.nodes for state in states) or not states:
        return
    found = await runtime.scheduler.excess(workloads.of_demand(demand))
    if found is None:
        return
    field = fields[found.part]
    message = (
        f"{field}: {describe(demand)} is more than any pool could ever hold "
        f"(there is {found.offers} in all)"
    )
    raise errors.InvalidArgumentError(
        message, reason="EXCEEDS_EVERY_POOL", violations=[errors.Violation(field, message)]
    )


def _check_slice(demand: Demand, fields: dict[str, str]) -> None:
    if not demand.topology:
        return
    kind, chips = demand.accelerator, int(demand.count)
    try:
        tpu.check_workers(kind, demand.topology, demand.workers, chips)
    except errors.InvalidArgumentError as error:
        wrong = "workers" if error.reason == "TPU_WORKERS" else "accelerator"
        raise errors.InvalidArgumentError.at(fields[wrong], error.message, error.reason) from None


def demand_of(spec: spec_pb2.JobSpec) -> Demand:
    """What a resolved job asks of a pool."""
    asked = spec.resources
    within: Any = asked.topology.within if asked.HasField("topology") else ""
    return Demand(
        workers=asked.workers if asked.HasField("workers") else 1,
        min_workers=asked.min_workers,
        cpus=asked.cpus_per_worker if asked.HasField("cpus_per_worker") else 1.0,
        memory=memory_of(asked.memory_per_worker),
        node_selector=dict(asked.node_selector),
        within=within,
        within_required=asked.topology.required if within else True,
        **accelerator_of(asked.accelerator if asked.HasField("accelerator") else None),
    )


def limits_of(spec: spec_pb2.SchedulingSpec) -> JobLimits:
    """What a resolved spec says of time, and of its place."""
    return JobLimits(
        time_limit=float(spec.time_limit_seconds),
        start_within=float(spec.start_deadline_seconds),
        stall_timeout=float(spec.stall_timeout_seconds),
        ttl=float(spec.ttl_seconds),
        preemptible=spec.preemptible if spec.HasField("preemptible") else True,
        min_runtime=float(spec.min_runtime_seconds),
    )


def memory_of(text: str) -> int:
    """MiB, rounded up."""
    return -(-quantity(text) // MIB)


def accelerator_of(spec: spec_pb2.AcceleratorSpec | None) -> dict[str, Any]:
    """The part of a demand that names an accelerator; empty: none is asked for."""
    if spec is None:
        return {}
    return {
        "accelerator": spec.type,
        "count": spec.count if spec.HasField("count") else 1.0,
        "alternatives": tuple(spec.alternatives),
        "topology": spec.topology,
    }
