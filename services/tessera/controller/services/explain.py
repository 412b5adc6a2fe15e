"""Why a job waits, or what would become of one: the scheduler is asked."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.controller.policy import workloads
from tessera.controller.policy.job import JobState
from tessera.controller.policy.records import Attempt, Job
from tessera.controller.runtime import Runtime
from tessera.controller.scheduling.explain import Forecast
from tessera.controller.scheduling.node import Node
from tessera.controller.services import convert

PER_NODE = 8
"""Devices of a node that is only imagined."""
IMAGINED_CPU, IMAGINED_MEMORY = 256_000, 4 << 20
"""Thousandths of processors, and MiB, of such a node."""


async def explain_sent(
    runtime: Runtime, job: Job, attempts: Iterable[Attempt], extra: Iterable[pb.ExtraNodes]
) -> pb.ExplainJobResponse:
    """Of a job that was sent.

    Raises:
        UnavailableError: this controller does not schedule (SCHEDULER_STARTING).
    """
    if job.state is not JobState.QUEUED:
        return _running(job, list(attempts))
    nodes = _imagined(extra)
    if nodes:
        return _forecast(await runtime.scheduler.what_if(job.id, nodes))
    found = await runtime.scheduler.standing_of(job.id)
    return pb.ExplainJobResponse(reasons=convert.waiting(found.reasons), ahead=found.ahead)


async def explain_spec(
    runtime: Runtime, job: Job, extra: Iterable[pb.ExtraNodes]
) -> pb.ExplainJobResponse:
    """Of a job that is not sent.

    Raises:
        UnavailableError: this controller does not schedule (SCHEDULER_STARTING).
    """
    return _forecast(await runtime.scheduler.dry_run(workloads.of_job(job), _imagined(extra)))


def _running(job: Job, attempts: list[Attempt]) -> pb.ExplainJobResponse:
    if job.state.terminal or not attempts:
        return pb.ExplainJobResponse()
    newest = attempts[-1]
    return pb.ExplainJobResponse(
        pool=newest.pool,
        flavour=newest.flavour,
        nodes=[worker.place for worker in newest.workers],
    )


def _forecast(found: Forecast) -> pb.ExplainJobResponse:
    reply = pb.ExplainJobResponse(reasons=convert.waiting(found.reasons), pool=found.pool)
    reply.preempted.extend(
        item.victim for item in found.decisions.preemptions if item.workload == found.workload
    )
    if found.admission is not None:
        reply.flavour = found.admission.flavour
        reply.nodes.extend(worker.place for worker in workloads.stored(found.admission))
    return reply


def _imagined(extra: Iterable[pb.ExtraNodes]) -> list[Node]:
    """Nodes that there might be."""
    nodes: list[Node] = []
    for number, item in enumerate(extra):
        left = item.count
        while left > 0:
            devices = min(left, PER_NODE) if item.accelerator else 1
            nodes.append(
                Node(
                    id=f"extra-{number}-{len(nodes)}",
                    pool="",
                    cpu=IMAGINED_CPU,
                    memory=IMAGINED_MEMORY,
                    devices=(item.accelerator,) * devices if item.accelerator else (),
                )
            )
            left -= devices
    return nodes
