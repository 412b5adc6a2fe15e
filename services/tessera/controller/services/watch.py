"""Streams of a job's events and metrics: read from the store, woken by signals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import sqlalchemy as sa

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.attempt.progress import Progress
from tessera.controller.policy.records import Job, Point
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.services.feed import JobFeeds, Update, history, updates
from tessera.controller.signals import job_key, metrics_key
from tessera.controller.store import jobs as store
from tessera.controller.store import metrics


async def watch(
    runtime: Runtime, feeds: JobFeeds, job: str, cursor: int
) -> AsyncIterator[pb.WatchJobResponse]:
    """Events after `cursor` without gap or duplicate, progress between them, then the end.

    What was before is read for this watcher; what comes is read once for all of them.

    Raises:
        OutOfRangeError: the cursor lies past the last event (CURSOR_TOO_LARGE).
    """
    at = WatchPlace(cursor)
    async with feeds.follow(job) as follower:
        while True:
            found, events = await runtime.database.read(history, job, at.cursor)
            _check_cursor(found, at.cursor)
            for update in updates(found, events, at.shown):
                if at.take(update):
                    yield update.message
            if events and at.cursor < found.event_sequence:
                continue  # Without any, the history was dropped.
            if found.state.terminal:
                return
            async for update in follower.updates():
                if update.sequence > at.cursor + 1:
                    break  # Some were lost: they are read above.
                if at.take(update):
                    yield update.message
                    if update.last:
                        return


class WatchPlace:
    """How far a watcher has come.

    Args:
        cursor: sequence of the last event that it has.
    """

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.shown: Progress | None = None

    def take(self, update: Update) -> bool:
        """Go past an update; returns whether it is new to the watcher."""
        if update.progress is not None:
            new = update.progress != self.shown
            self.shown = update.progress
            return new
        new = update.sequence > self.cursor
        self.cursor = max(self.cursor, update.sequence)
        return new


def _check_cursor(found: Job, cursor: int) -> None:
    """Raise OutOfRangeError if a cursor lies past the last event (CURSOR_TOO_LARGE)."""
    if cursor > found.event_sequence:
        raise errors.OutOfRangeError(
            f"cursor: {found.id} has {found.event_sequence} events, not {cursor}",
            reason="CURSOR_TOO_LARGE",
            violations=[errors.Violation("cursor", "past the last event")],
        )


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


def _points(connection: sa.Connection, job: str, at: tuple[int, int]) -> tuple[Job, list[Point]]:
    return store.get(connection, job), metrics.after(connection, job, *at)


def _point_message(value: Point) -> pb.MetricPoint:
    """A point of the metrics."""
    return pb.MetricPoint(
        step=value.step,
        attempt=value.attempt,
        time=convert.timestamp(value.time),
        values=value.values,
    )
