"""The store: one transaction for each transition, nothing lost between any two of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import postgres_server
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from migrated import migrated

from tessera import errors
from tessera.attempt.failure import Failure, FailureCategory
from tessera.attempt.progress import Progress
from tessera.controller.policy import filters, quotas
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.deployment import FAILURES
from tessera.controller.policy.job import (
    Cancel,
    Fail,
    JobProgress,
    JobState,
    Requeue,
    Stop,
    Succeed,
)
from tessera.controller.policy.records import EnsureJob, Job, Note, Numbered, Point
from tessera.controller.policy.stop import StopCause
from tessera.controller.store import (
    attempts,
    ensures,
    events,
    jobs,
    metrics,
    outbox,
    placement,
    tickets,
)
from tessera.controller.store.database import Database
from tessera.controller.store.schema import metadata
from tessera.rpc.platform_limits import TenantLimits
from tessera.rpc.principal import Principal, Role

postgres = postgres_server.postgres

JOBS = quotas.jobs(TenantLimits())
LOST = Failure(category=FailureCategory.WORKER_LOST, reason="DRIVER_KILLED", message="m")


def new(number=1, **fields):
    standard = {
        "id": f"job-{number:03}",
        "tenant": "default",
        "owner": "ada",
        "name": "demo",
        "queue": "default",
        "priority": 0,
        "labels": {},
        "request_id": "",
        "request_digest": "d",
        "spec": "{}",
        "demand": Demand(workers=1, cpus=1),
        "publish_set": f"set-{number}",
        "position": JobProgress(retries=2),
    }
    return Job(**{**standard, **fields})


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path):
    if request.param == "sqlite":
        found = Database(f"sqlite:///{migrated(tmp_path / 'c.db')}")
    else:
        found = Database(request.getfixturevalue("postgres").migrated())
    await found.open()
    yield found
    await found.close()


@pytest.mark.parametrize("of", ["sqlite", "postgresql"])
def test_the_migrations_make_exactly_the_tables_of_the_code(of, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'c.db'}"
    if of == "postgresql":
        url = request.getfixturevalue("postgres").fresh()

    async def made():
        database = Database(url)
        await database.open()
        await database.close()

    asyncio.run(made())
    with sa.create_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_store_is_durable_and_has_one_writer(database):
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    values = [
        await database.read(lambda c, p=p: c.exec_driver_sql(f"PRAGMA {p}").scalar())
        for p in pragmas
    ]
    assert values == ["wal", 2, 1]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_jobs_of_a_name_are_found_by_an_index_newest_first(database):
    for number in range(1, 7):
        job = new(number, name="demo" if number % 2 else "other")
        await database.write(jobs.create, job, JOBS)
    await database.write(jobs.apply, "job-005", Cancel(by="ada"))
    asked = {"tenant": "default", "before": ""}
    named = filters.parse("name=demo")
    (newest,) = await database.read(jobs.page, conditions=named, size=1, **asked)
    assert newest.id == "job-005"
    unfinished = filters.parse("name=demo AND ended=false")
    listed = await database.read(jobs.page, conditions=unfinished, size=9, **asked)
    assert [job.id for job in listed] == ["job-003", "job-001"]

    def plan(connection):
        told = []

        @sa.event.listens_for(connection, "before_cursor_execute")
        def explain(connection, cursor, statement, parameters, *_):
            told.extend(cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall())

        jobs.page(connection, conditions=named, size=1, **asked)
        return " ".join(row[-1] for row in told)

    used = await database.read(plan)
    assert "jobs_tenant_name" in used
    assert "TEMP B-TREE" not in used  # No sorting of all that bear the name.


async def test_a_failed_transaction_leaves_nothing(database):
    def half(connection):
        jobs.create(connection, new(), JOBS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(half)
    with pytest.raises(errors.NotFoundError):
        await database.read(jobs.get, "job-001")


async def test_what_a_caller_that_is_gone_does_not_hear_is_no_defect(database):
    gc.freeze()  # What was there before is not looked through.
    heard, begun, go = [], threading.Event(), threading.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, told: heard.append(told))

    def refuse(_):
        begun.set()
        go.wait(5)
        raise errors.NotFoundError("nothing")

    call = asyncio.create_task(database.read(refuse))
    await asyncio.to_thread(begun.wait, 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    await database.read(lambda _: None)
    await asyncio.sleep(0.05)
    gc.collect()
    assert not heard


moves = st.sampled_from(["admit", "report", "lose", "succeed", "stop", "cancel", "wait", "release"])


@settings(max_examples=8, deadline=None)
@given(script=st.lists(moves, max_size=14), reopen=st.lists(st.booleans(), min_size=14))
def test_reopening_between_any_two_calls_changes_nothing(tmp_path_factory, script, reopen):
    """The same calls with and without restarts give the same job and the same history."""
    folder = tmp_path_factory.mktemp("store")
    quiet = asyncio.run(play(folder / "a.db", script, [False] * 14))
    broken = asyncio.run(play(folder / "b.db", script, reopen))
    assert quiet == broken
    state, history, commands = broken
    assert [sequence for sequence, *_ in history] == list(range(1, len(history) + 1))
    assert sum(JobState(s).terminal for _, type_, s, _ in history if type_ == "state") <= 1
    assert history[-1][2] == state
    assert len(commands) == sum("starts on pool" in m for *_, m in history)


async def play(path, script, reopen):
    database = Database(f"sqlite:///{migrated(path)}")
    await database.open()
    await database.write(jobs.create, new(), JOBS)
    for move, again in zip(script, reopen, strict=False):
        if again:
            await database.close()
            database = Database(f"sqlite:///{path}")
            await database.open()
        with contextlib.suppress(errors.FailedPreconditionError, errors.NotFoundError):
            await make(database, move)
    job = await database.read(jobs.get, "job-001")
    found = await database.read(events.after, "job-001", 0)
    commands = await database.read(_launches)
    await database.close()
    history = [(e.sequence, e.type, e.state.value, e.message) for e in found]
    return job.state.value, history, commands


async def make(database, move):
    job = await database.read(jobs.get, "job-001")
    number = job.position.attempt
    match move:
        case "admit":
            await database.write(placement.admit, job.id, pool="p")
        case "report":
            note = Numbered(sequence=1, content=Note(type="note", message="hello"))
            await database.write(attempts.report, job.id, number, [note])
        case "lose":
            await database.write(attempts.finish, job.id, number, Fail(failure=LOST))
        case "succeed":
            await database.write(attempts.finish, job.id, number, Succeed(version=1))
        case "stop":
            await database.write(attempts.finish, job.id, number, Stop())
        case "cancel":
            await database.write(jobs.apply, job.id, Cancel(by="ada"))
        case "release":
            await database.write(attempts.release, job.id, number)


def _launches(connection):
    rows = connection.execute(sa.text("SELECT job, attempt FROM outbox WHERE kind = 'launch'"))
    return [tuple(row) for row in rows]


async def test_reports_are_counted_once_and_metrics_bounded(database):
    await database.write(jobs.create, new(), JOBS)
    await database.write(placement.admit, "job-001", pool="p")

    def batch(first, count):
        return [
            Numbered(
                sequence=n, content=Point(attempt=1, step=n, time=0.0, values={"loss": 1.0 / n})
            )
            for n in range(first, first + count)
        ]

    for first in range(1, 3001, 250):
        for _ in range(2):
            high, _, _ = await database.write(attempts.report, "job-001", 1, batch(first, 250))
            assert high == first + 249
    kept, at = [], 0
    while points := await database.read(metrics.after, "job-001", 1, at):
        kept += [p.step for p in points]
        at = kept[-1]
    assert kept == sorted(set(kept))
    assert len(kept) <= metrics.MOST
    assert kept[0] == 1
    assert kept[-metrics.RECENT :] == list(range(3001 - metrics.RECENT, 3001))


async def test_an_older_attempt_is_fenced_off(database):
    await database.write(jobs.create, new(), JOBS)
    await database.write(placement.admit, "job-001", pool="p")
    await database.write(attempts.finish, "job-001", 1, Fail(failure=LOST))
    await database.write(placement.admit, "job-001", pool="p")
    for call in (
        (attempts.report, "job-001", 1, []),
        (attempts.finish, "job-001", 1, Succeed(version=1)),
    ):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            await database.write(*call)
        assert caught.value.reason == "ATTEMPT_FENCED"


async def test_an_outcome_is_stored_once(database):
    await database.write(jobs.create, new(), JOBS)
    await database.write(placement.admit, "job-001", pool="p")
    assert await database.write(attempts.finish, "job-001", 1, Succeed(version=1))
    assert not await database.write(attempts.finish, "job-001", 1, Succeed(version=1))
    with pytest.raises(errors.FailedPreconditionError) as caught:
        await database.write(attempts.finish, "job-001", 1, Fail(failure=LOST))
    assert caught.value.reason == "ATTEMPT_FINISHED"
    with pytest.raises(errors.FailedPreconditionError):
        await database.write(
            attempts.report, "job-001", 1, [Numbered(sequence=1, content=Progress(step=1))]
        )


async def test_a_kill_does_not_wait_behind_a_stop_that_nobody_hears(database):
    await database.write(jobs.create, new(), JOBS)
    await database.write(placement.admit, "job-001", pool="p")
    asked = Requeue(cause=StopCause.REQUEUED, by="ada", grace=0.0)
    await database.write(jobs.apply, "job-001", asked)
    launch, *others = await database.read(outbox.due)
    assert (launch.kind, others) == ("launch", [])
    await database.write(outbox.done, launch.id)
    assert [command.kind for command in await database.read(outbox.due)] == ["stop", "kill"]


async def test_commands_of_a_job_keep_their_order(database):
    await database.write(jobs.create, new(), JOBS)
    await database.write(placement.admit, "job-001", pool="p")
    await database.write(jobs.apply, "job-001", Cancel(by="ada"))
    seen = []
    while due := await database.read(outbox.due):
        assert len(due) == 1
        seen.append(due[0].kind)
        await database.write(outbox.done, due[0].id)
    assert seen == ["launch", "stop"]
    assert await database.read(outbox.next_due) is not None


async def test_tickets_are_used_up(database):
    principal = Principal(
        subject="attempt:j/1",
        role=Role.ATTEMPT,
        tenant="t",
        job="j",
        attempt=1,
        writes="t/s",
        reads=("t/a", "t/b"),
    )
    ticket = await database.write(tickets.issue, principal)
    assert await database.write(tickets.redeem, ticket) == principal
    for wrong in (ticket, "nonsense"):
        with pytest.raises(errors.UnauthenticatedError) as caught:
            await database.write(tickets.redeem, wrong)
        assert caught.value.reason == "TICKET_INVALID"


async def test_failed_ensure_jobs_are_counted(database):
    for number in range(1, 4):
        known = (await database.read(ensures.every)).get("k")
        ensure = EnsureJob(
            key="k",
            submission_id=f"e-{number}",
            pool="p",
            cluster="c",
            generation="g",
            status="RUNNING",
            started=0.0,
            failures=known.failures if known else 0,
        )
        await database.write(ensures.begin, ensure, tenant="default", owner="o")
        await database.write(ensures.end, ensure.submission_id, ok=number == 3, message="m")
        found = (await database.read(ensures.every))["k"]
        assert found.failures == (0 if number == 3 else number)


async def test_a_failure_for_good_counts_as_several(database):
    ensure = EnsureJob(
        key="k",
        submission_id="e-1",
        pool="p",
        cluster="c",
        generation="g",
        status="RUNNING",
        started=0.0,
    )
    await database.write(ensures.begin, ensure, tenant="default", owner="o")
    await database.write(ensures.end, "e-1", ok=False, message="m", weight=FAILURES)
    known = (await database.read(ensures.every))["k"]
    assert (known.failures, known.message) == (FAILURES, "m")
