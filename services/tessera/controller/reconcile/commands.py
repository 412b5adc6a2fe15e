"""Carries out what transitions left in the outbox: launch, stop, kill. Each may happen twice."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import sqlalchemy as sa
import structlog

from tessera import errors
from tessera.api.controller.v1 import spec_pb2
from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.job import CommandKind, Fail, Stop
from tessera.controller.policy.outcome import RunStatus
from tessera.controller.policy.records import Attempt, Job, PendingCommand, Pool
from tessera.controller.pools.launcher import Submission, metadata
from tessera.controller.pools.state import PATIENCE
from tessera.controller.pools.tasks import PoolTasks
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import ADMISSION, OUTBOX, job_key
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import events, outbox, tickets
from tessera.controller.store import jobs as store_jobs
from tessera.rpc.principal import Principal, Role
from tessera.spec.reference import parse_reference

log = structlog.get_logger()

IDLE_PAUSE = 15.0
STOP_TRIES = 20
MOST_DELAY = 60.0
"""Seconds until a command that failed is tried again, at most."""
NOTE_AFTER = 3
"""Failed launches after which the job's history says what is wrong."""


Due = tuple[PendingCommand, Job, Attempt]


class CommandLoop:
    """Takes due commands, those of different jobs at the same time.

    Args:
        runtime: the controller's parts.
        address: `host:port` that drivers call the controller at.
    """

    def __init__(self, runtime: Runtime, address: str) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._address = address
        self._tasks = PoolTasks("commands")

    async def round(self) -> float:
        """Carry out what is due; returns the seconds until the next command."""
        due = await self._database.read(_due)
        for pool in {attempt.pool for _, _, attempt in due}:
            here = [item for item in due if item[2].pool == pool]
            self._tasks.start(pool, partial(self._carry_out_all, here))
        settled = await self._tasks.settle(PATIENCE)
        following = await self._database.read(outbox.next_due)
        if following is None:
            return IDLE_PAUSE
        # What a pool keeps waiting is due: whoever carries it out says when that is over.
        least = 0.05 if settled else PATIENCE
        return min(IDLE_PAUSE, max(least, following - time.time()))

    async def _carry_out_all(self, due: list[Due]) -> None:
        await asyncio.gather(*(self._carry_out(*item) for item in due))
        self._runtime.signals.wake(OUTBOX)

    async def _carry_out(self, command: PendingCommand, job: Job, attempt: Attempt) -> None:
        try:
            match CommandKind(command.kind):
                case CommandKind.LAUNCH:
                    await self._launch(command, job, attempt)
                case CommandKind.STOP:
                    await self._stop(command, attempt)
                case CommandKind.KILL:
                    await self._kill(command, attempt)
        except errors.UnavailableError as error:
            delay = error.retry_after or min(10.0, 0.5 * 2.0 ** min(command.tries, 8))
            await self._database.write(_again, command, delay, error.message)
            log.info("command waits", kind=command.kind, job_id=command.job, message=error.message)
        except (errors.AbortedError, asyncio.CancelledError):
            raise
        except Exception as error:
            # A defect with one command is no reason to leave the others, nor to try it at once.
            log.exception("command failed", kind=command.kind, job_id=command.job)
            delay = min(MOST_DELAY, 0.5 * 2.0 ** min(command.tries, 16))
            await self._database.write(_again, command, delay, errors.describe(error))
        self._runtime.signals.wake(job_key(command.job))

    async def _launch(self, command: PendingCommand, job: Job, attempt: Attempt) -> None:
        pool = self._pool(attempt)
        if attempt.end_time is not None:
            await self._database.write(_launched, command)
            return
        if job.state.ending:
            await self._withdraw(command, pool, attempt)
            return
        ticket = await self._database.write(tickets.issue, _principal(job, attempt.number))
        try:
            submission = self._submission(job, attempt, ticket)
            await self._runtime.launcher.submit(pool, submission)
        except errors.FailedPreconditionError as error:
            await self._database.write(_refused, command, error.message)
            self._runtime.signals.wake(ADMISSION)
            return
        await self._database.write(_launched, command)

    async def _withdraw(self, command: PendingCommand, pool: Pool, attempt: Attempt) -> None:
        run = await self._runtime.launcher.status(pool, attempt.submission_id)
        if run.status is RunStatus.MISSING:
            await self._database.write(_withdrawn, command)
            self._runtime.signals.wake(ADMISSION)
        else:
            await self._database.write(_launched, command)

    async def _stop(self, command: PendingCommand, attempt: Attempt) -> None:
        if attempt.end_time is None and command.tries < STOP_TRIES:
            await self._runtime.drivers.stop(command.job, attempt.number)
        await self._database.write(outbox.done, command.id)

    async def _kill(self, command: PendingCommand, attempt: Attempt) -> None:
        if not attempt.released:
            await self._runtime.launcher.stop(self._pool(attempt), attempt.submission_id)
            log.warning("attempt killed", job_id=attempt.job, attempt=attempt.number)
        await self._database.write(outbox.done, command.id)

    def _pool(self, attempt: Attempt) -> Pool:
        state = self._runtime.pools.get(attempt.pool)
        if state is None:
            raise errors.UnavailableError(f"pool {attempt.pool} is not registered")
        return state.pool

    def _submission(self, job: Job, attempt: Attempt, ticket: str) -> Submission:
        return Submission(
            id=attempt.submission_id,
            command=(
                self._runtime.config.python,
                "-m",
                "tessera.trainer",
                "--job",
                job.id,
                "--attempt",
                str(attempt.number),
                "--controller",
                self._address,
                *self._runtime.config.calls_argument,
            ),
            tickets=(ticket,),
            roots=self._runtime.trust.roots,
            metadata=metadata(
                name=job.name,
                owner=job.owner,
                tenant=job.tenant,
                job=job.id,
                attempt=attempt.number,
            ),
        )


def _principal(job: Job, attempt: int) -> Principal:
    """What an attempt is: it writes the set that its spec publishes, and reads those it names."""
    spec = convert.from_json(spec_pb2.JobSpec, job.spec)
    named = [reference for _, reference in spec.model.init.ListFields()]
    return Principal(
        subject=f"attempt:{job.id}/{attempt}",
        role=Role.ATTEMPT,
        tenant=job.tenant,
        job=job.id,
        attempt=attempt,
        writes=f"{job.tenant}/{job.publish_set}",
        reads=tuple(parse_reference(reference).full_name(job.tenant) for reference in named),
    )


def _due(connection: sa.Connection) -> list[Due]:
    return [
        (
            command,
            store_jobs.get(connection, command.job),
            store_attempts.get(connection, command.job, command.attempt),
        )
        for command in outbox.due(connection)
    ]


def _launched(connection: sa.Connection, command: PendingCommand) -> None:
    store_attempts.set_launched(connection, command.job, command.attempt)
    outbox.done(connection, command.id)
    log.info("attempt launched", job_id=command.job, attempt=command.attempt)


def _withdrawn(connection: sa.Connection, command: PendingCommand) -> None:
    store_attempts.finish(connection, command.job, command.attempt, Stop())
    store_attempts.release(connection, command.job, command.attempt)
    outbox.done(connection, command.id)


def _refused(connection: sa.Connection, command: PendingCommand, message: str) -> None:
    failure = Failure(category=FailureCategory.LAUNCH, reason="LAUNCH_REFUSED", message=message)
    store_attempts.finish(connection, command.job, command.attempt, Fail(failure=failure))
    store_attempts.release(connection, command.job, command.attempt)
    outbox.done(connection, command.id)


def _again(connection: sa.Connection, command: PendingCommand, delay: float, message: str) -> None:
    outbox.again(connection, command.id, delay, message)
    if command.tries + 1 == NOTE_AFTER:
        events.append(
            connection,
            command.job,
            type_="note",
            message=f"The controller goes on trying to {command.kind} the attempt: {message}",
        )
