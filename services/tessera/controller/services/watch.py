"""Streams of a job's events and metrics: read from the store, woken by signals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import sqlalchemy as sa
from google.protobuf import json_format, struct_pb2

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.attempt.messages import progress_to_pb
from tessera.controller.policy.records import Event, Job, Point
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import job_key, metrics_key
from tessera.controller.store import events as store_events
from tessera.controller.store import jobs as store
from tessera.controller.store import metrics


async def watch(runtime: Runtime, job: str, cursor: int) -> AsyncIterator[pb.WatchJobResponse]:
    """Events after `cursor` without gap or duplicate, progress between them, then the end.

    Raises:
        OutOfRangeError: the cursor lies past the last event (CURSOR_TOO_LARGE).
    """
    shown = None
    with runtime.signals.listen(job_key(job)) as wakeup:
        while True:
            found, events = await runtime.database.read(_history, job, cursor)
            if cursor > found.event_sequence:
                raise errors.OutOfRangeError(
                    f"cursor: {job} has {found.event_sequence} events, not {cursor}",
                    reason="CURSOR_TOO_LARGE",
                    violations=[errors.Violation("cursor", "past the last event")],
                )
            told = found.progress
            if told is not None and told != shown and not found.state.terminal:
                shown = told
                yield pb.WatchJobResponse(progress=progress_to_pb(told))
            for event in events:
                if event.state.terminal and told is not None and told != shown:
                    shown = told
                    yield pb.WatchJobResponse(progress=progress_to_pb(told))
                cursor = event.sequence
                yield pb.WatchJobResponse(event=_event_message(event))
            if cursor < found.event_sequence:
                continue
            if found.state.terminal:
                return
            await wakeup.wait()


async def stream_metrics(
    runtime: Runtime, job: str, *, after_step: int, follow: bool
) -> AsyncIterator[pb.StreamMetricsResponse]:
    """Points of steps after `after_step`, attempt by attempt; `follow` stays until the job ends."""
    at = (0, -1)
    with runtime.signals.listen(metrics_key(job), job_key(job)) as wakeup:
        while True:
            found, points = await runtime.database.read(_points, job, at)
            if points:
                at = (points[-1].attempt, points[-1].step)
                wanted = [_point_message(p) for p in points if p.step > after_step]
                if wanted:
                    yield pb.StreamMetricsResponse(points=wanted)
                continue
            if not follow or found.state.terminal:
                return
            await wakeup.wait()


def _history(connection: sa.Connection, job: str, cursor: int) -> tuple[Job, list[Event]]:
    return store.get(connection, job), store_events.after(connection, job, cursor)


def _points(connection: sa.Connection, job: str, at: tuple[int, int]) -> tuple[Job, list[Point]]:
    return store.get(connection, job), metrics.after(connection, job, *at)


def _event_message(value: Event) -> pb.JobEvent:
    """An entry of a job's history."""
    details = struct_pb2.Struct()
    json_format.ParseDict(dict(value.details), details)
    return pb.JobEvent(
        sequence=value.sequence,
        time=convert.timestamp(value.time),
        type=value.type,
        state=convert.state(value.state),
        attempt=value.attempt,
        message=value.message,
        details=details,
    )


def _point_message(value: Point) -> pb.MetricPoint:
    """A point of the metrics."""
    return pb.MetricPoint(
        step=value.step,
        attempt=value.attempt,
        time=convert.timestamp(value.time),
        values=value.values,
    )
