"""What happens to a job, read once for all who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import sqlalchemy as sa
from google.protobuf import json_format, struct_pb2

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.attempt.messages import progress_to_pb
from tessera.attempt.progress import Progress
from tessera.controller.policy.records import Event, Job
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import job_key
from tessera.controller.store import events as store_events
from tessera.controller.store import jobs as store

WAITING = 256
"""Updates that wait for one watcher; one that is slower reads the store itself."""

AT_ONCE = 16
"""Watchers that are told before others have their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One message of a watch; `sequence` is that of its event, 0 of progress."""

    message: pb.WatchJobResponse
    sequence: int = 0
    progress: Progress | None = None
    last: bool = False


class Follower:
    """One watcher's place in a feed: a queue of bounded length."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Update | errors.TesseraError | None] = asyncio.Queue(WAITING)

    def put(self, item: Update | errors.TesseraError) -> None:
        """Hand over an update; to who is too slow, only that something was lost."""
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._clear()
            self._queue.put_nowait(item if isinstance(item, errors.TesseraError) else None)

    def _clear(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    async def updates(self) -> AsyncIterator[Update]:
        """What comes; ends where something was lost.

        Raises:
            TesseraError: the store cannot be read.
        """
        while (item := await self._queue.get()) is not None:
            if isinstance(item, errors.TesseraError):
                raise item
            yield item


class JobFeed:
    """Reads a job's history as it grows, for as long as somebody follows."""

    def __init__(self, runtime: Runtime, job: str) -> None:
        self._runtime = runtime
        self._job = job
        self._cursor = 0
        self._shown: Progress | None = None
        self.followers: set[Follower] = set()
        self.begun = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"feed of {job}")

    async def _run(self) -> None:
        try:
            with self._runtime.signals.listen(job_key(self._job)) as wakeup:
                found, _ = await self._runtime.database.read(history, self._job, None)
                # Whoever joins reads for itself what was before.
                self._cursor = found.event_sequence
                self._shown = found.progress
                self.begun.set()
                while not await self._look():
                    await wakeup.wait()
        except errors.TesseraError as error:
            self._fail(error)
        except Exception as error:
            self._fail(errors.InternalError(f"the feed of {self._job} failed", reason="INTERNAL"))
            raise error from None
        finally:
            self.begun.set()

    async def _look(self) -> bool:
        """Hand on what is new; returns whether that was the last."""
        while True:
            found, events = await self._runtime.database.read(history, self._job, self._cursor)
            told = list(updates(found, events, self._shown))
            for followers in batched(tuple(self.followers)) if told else ():
                for follower in followers:
                    for update in told:
                        follower.put(update)
                # Whoever caused it waits for an answer of this same loop.
                await asyncio.sleep(0)
            self._shown = found.progress
            self._cursor = events[-1].sequence if events else self._cursor
            if not events or self._cursor >= found.event_sequence:
                return found.state.terminal

    def _fail(self, error: errors.TesseraError) -> None:
        for follower in self.followers:
            follower.put(error)


class JobFeeds:
    """The feeds of the jobs that are watched now."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._feeds: dict[str, JobFeed] = {}

    @asynccontextmanager
    async def follow(self, job: str) -> AsyncIterator[Follower]:
        """A place in a job's feed: it gets all that comes after what the store has now."""
        feed = self._feeds.get(job)
        if feed is None or feed.task.done():
            feed = self._feeds[job] = JobFeed(self._runtime, job)
        follower = Follower()
        feed.followers.add(follower)
        try:
            await feed.begun.wait()
            yield follower
        finally:
            feed.followers.discard(follower)
            if not feed.followers:
                await self._end(job, feed)

    async def _end(self, job: str, feed: JobFeed) -> None:
        if self._feeds.get(job) is feed:
            del self._feeds[job]
        feed.task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await feed.task


def batched(followers: tuple[Follower, ...]) -> Iterator[tuple[Follower, ...]]:
    """A few at a time."""
    for start in range(0, len(followers), AT_ONCE):
        yield followers[start : start + AT_ONCE]


def history(connection: sa.Connection, job: str, cursor: int | None) -> tuple[Job, list[Event]]:
    """A job and the next of its events after a cursor; without one, none."""
    found = store.get(connection, job)
    if cursor is None or cursor >= found.event_sequence:
        return found, []
    return found, store_events.after(connection, job, cursor)


def updates(found: Job, events: list[Event], shown: Progress | None) -> Iterator[Update]:
    """The messages of events, with progress that was not shown before them, or before the last."""
    told = found.progress
    fresh = told is not None and told != shown
    if fresh and told is not None and not found.state.terminal:
        fresh = False
        yield _progress(told)
    for event in events:
        if fresh and told is not None and event.state.terminal:
            fresh = False
            yield _progress(told)
        yield Update(
            message=pb.WatchJobResponse(event=_event_message(event)),
            sequence=event.sequence,
            last=event.state.terminal and event.sequence == found.event_sequence,
        )


def _progress(told: Progress) -> Update:
    return Update(message=pb.WatchJobResponse(progress=progress_to_pb(told)), progress=told)


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
