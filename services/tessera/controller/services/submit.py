"""What a job must pass before it is accepted: defaults, limits, and what the platform has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import spec_pb2
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.limits import JobLimits
from tessera.controller.policy.scheduler import describe, exceeds, figures
from tessera.controller.runtime import Runtime
from tessera.spec import check, rate_is_open, resolve

QUEUES = ("default",)


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
    if resolved.queue not in QUEUES:
        message = f"queue: there is no queue '{resolved.queue}'; there is 'default'"
        raise errors.NotFoundError(
            message, reason="QUEUE_NOT_FOUND", violations=[errors.Violation("queue", message)]
        )
    demand = _demand_of(resolved)
    fits(runtime, demand, _JOB_FIELDS)
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
    "cpus_per_worker": "resources.cpus_per_worker",
    "accelerator": "resources.accelerator",
}
DEPLOYMENT_FIELDS = {
    "workers": "replicas",
    "cpus_per_worker": "cpus_per_replica",
    "accelerator": "accelerator",
}


def fits(runtime: Runtime, demand: Demand, fields: dict[str, str]) -> None:
    """Raise if no pool could hold a demand even when it is empty.

    A pool that has not been seen yet could hold anything.

    Raises:
        InvalidArgumentError: EXCEEDS_EVERY_POOL, with the field that asks for too much.
    """
    states = runtime.pools.all()
    if any(not state.nodes for state in states) or not states:
        return
    capacities = tuple(state.capacity for state in states)
    if not (part := exceeds(demand, capacities)):
        return
    field = fields[part]
    offers = "; ".join(f"pool {c.pool} has {figures(c.total(), demand)} in all" for c in capacities)
    message = f"{field}: {describe(demand)} is more than any pool could ever hold ({offers})"
    raise errors.InvalidArgumentError(
        message, reason="EXCEEDS_EVERY_POOL", violations=[errors.Violation(field, message)]
    )


def _demand_of(spec: spec_pb2.JobSpec) -> Demand:
    """What a resolved job asks of a pool."""
    asked = spec.resources
    return Demand(
        workers=asked.workers if asked.HasField("workers") else 1,
        cpus=asked.cpus_per_worker if asked.HasField("cpus_per_worker") else 1.0,
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


def accelerator_of(spec: spec_pb2.AcceleratorSpec | None) -> dict[str, Any]:
    """The part of a demand that names an accelerator; empty: none is asked for."""
    if spec is None:
        return {}
    return {"accelerator": spec.type, "count": spec.count if spec.HasField("count") else 1.0}
