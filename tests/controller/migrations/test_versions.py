"""A database of an earlier build, brought to the newest schema: nothing of it is lost."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from tessera import errors
from tessera.attempt.failure import Failure, FailureCategory
from tessera.attempt.progress import Progress
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobProgress, JobState
from tessera.controller.policy.records import (
    Attempt,
    Deployment,
    EnsureJob,
    Event,
    Job,
    PendingCommand,
    Point,
    Pool,
)
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.store import (
    attempts,
    deployments,
    ensures,
    events,
    holdings,
    jobs,
    metrics,
    outbox,
    pools,
    tickets,
)
from tessera.controller.store.database import Database
from tessera.controller.store.schema import metadata
from tessera.rpc.principal import Principal, Role

REASON = {"reason": "NO_ROOM", "message": "full"}
READ_REASON = Reason(code="NO_ROOM", message="full")
FAILURE = {
    "category": "USER",
    "reason": "BAD_DATA",
    "message": "no",
    "rank": 1,
    "traceback": "t",
    "exit_code": 3,
}
BLOB = "0123" * 16
DONE = {
    "id": "job-1",
    "tenant": "default",
    "owner": "ada",
    "name": "demo",
    "queue": "default",
    "priority": 3,
    "labels": json.dumps({"team": "nlp"}),
    "dependencies": "[]",
    "request_id": "r",
    "request_digest": "d",
    "spec": json.dumps({"data": {"files": [f"blob://{BLOB}/t.txt"]}}),
    "workers": 2,
    "cpus_per_worker": 1.5,
    "accelerator": "A100",
    "accelerator_count": 0.5,
    "publish_set": "set",
    "state": "FAILED",
    "attempt": 1,
    "failures": 1,
    "interruptions": 2,
    "retries": 3,
    "not_before": 4.0,
    "event_sequence": 1,
    "waiting": json.dumps([REASON]),
    "progress": json.dumps({"step": 5, "loss": None, "held_out_loss": 2.5, "metrics": {"a": 1.0}}),
    "failure": json.dumps(FAILURE),
    "create_time": 1.0,
    "start_time": 2.0,
    "end_time": 3.0,
}
LIVE = {
    **DONE,
    "id": "job-2",
    "request_id": "",
    "state": "QUEUED",
    "attempt": 0,
    "waiting": "[]",
    "progress": None,
    "failure": "null",
    "start_time": None,
    "end_time": None,
}
STORED = {
    "leases": [{"name": "controller", "holder": "h", "token": 7, "acquired": 1.0}],
    "jobs": [DONE, LIVE],
    "attempts": [
        {
            "job": "job-1",
            "number": 1,
            "submission_id": "job-1-1",
            "pool": "main",
            "start_time": 2.0,
            "launched": True,
            "end_time": 3.0,
            "failure": json.dumps(FAILURE),
            "outcome": json.dumps({"kind": "failure", "failure": FAILURE}),
            "released": True,
            "report_sequence": 9,
        }
    ],
    "events": [
        {
            "job": "job-1",
            "sequence": 1,
            "time": 1.0,
            "type": "state",
            "state": "QUEUED",
            "attempt": 0,
            "message": "m",
            "details": json.dumps({"a": 1}),
        }
    ],
    "metrics": [
        {"job": "job-1", "attempt": 1, "step": 5, "time": 2.5, "values": json.dumps({"loss": 1.5})}
    ],
    "outbox": [
        {
            "kind": "KILL",
            "job": "job-1",
            "attempt": 1,
            "due": 1.0,
            "tries": 2,
            "error": "e",
            "lock_owner": None,
        }
    ],
    "tickets": [
        {
            "digest": tickets._digest("secret"),
            "subject": "job",
            "role": "attempt",
            "tenant": "default",
            "job": "job-1",
            "attempt": 1,
            "expires": 1e12,
        }
    ],
    "pools": [
        {
            "name": "main",
            "tenant": "default",
            "owner": "ada",
            "dashboard_url": "http://x",
            "ray_address": "x",
            "foreign_use": json.dumps({"CPU": 2.0}),
            "position": 0,
        }
    ],
    "deployments": [
        {
            "tenant": "default",
            "name": "chat",
            "owner": "ada",
            "spec": "{}",
            "replicas": 3,
            "cpus_per_replica": 2.0,
            "accelerator": "GPU",
            "accelerator_count": 1.0,
            "deleting": False,
            "pool": "main",
            "generation": "g",
            "waiting": json.dumps([REASON]),
            "create_time": 5.0,
        }
    ],
    "ensures": [
        {
            "key": "deployment/default/chat",
            "tenant": "default",
            "owner": "ada",
            "submission_id": "s",
            "pool": "main",
            "cluster": "c",
            "generation": "g",
            "status": "FAILED",
            "started": 1.0,
            "ended": 2.0,
            "failures": 4,
            "message": "m",
        }
    ],
}

FAILED = Failure(**{**FAILURE, "category": FailureCategory.USER})
DEMAND = Demand(workers=2, cpus=1.5, accelerator="A100", count=0.5)
SHARED = {
    **{name: DONE[name] for name in ("tenant", "owner", "name", "queue", "priority", "spec")},
    "labels": {"team": "nlp"},
    "request_digest": "d",
    "publish_set": "set",
    "demand": DEMAND,
    "not_before": 4.0,
    "event_sequence": 1,
    "create_time": 1.0,
}
JOBS = [
    Job(
        **SHARED,
        id="job-1",
        request_id="r",
        position=JobProgress(
            state=JobState.FAILED, attempt=1, failures=1, interruptions=2, retries=3
        ),
        waiting=(READ_REASON,),
        progress=Progress(step=5, held_out_loss=2.5, metrics={"a": 1.0}),
        failure=FAILED,
        start_time=2.0,
        end_time=3.0,
    ),
    Job(
        **SHARED,
        id="job-2",
        request_id="",
        position=JobProgress(failures=1, interruptions=2, retries=3),
    ),
]


def migrate(connection, to, *, down=False):
    config = Config()
    config.set_main_option("script_location", "tessera.controller:migrations")
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, to)
    connection.commit()


def fill(connection):
    """Rows in every table of the first schema, as its build wrote them."""
    names = set(sa.inspect(connection).get_table_names())
    assert names == {*STORED, "alembic_version"}
    for name, stored in STORED.items():
        for row in stored:
            columns = ", ".join(f'"{column}"' for column in row)
            marks = ", ".join(f":{column}" for column in row)
            text = f"INSERT INTO {name} ({columns}) VALUES ({marks})"
            connection.execute(sa.text(text), row)
    connection.commit()


def indexes(connection):
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    return connection.exec_driver_sql(query).all()


@pytest.fixture
def old(tmp_path):
    """The address of a database that the first schema's build has used."""
    url = f"sqlite:///{tmp_path / 'c.db'}"
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        migrate(connection, "0001")
        fill(connection)
    engine.dispose()
    return url


@pytest.fixture
async def database(old):
    opened = Database(old)
    await opened.open()
    yield opened
    await opened.close()


async def test_jobs_read_the_same(database):
    read = [await database.read(jobs.get, job.id) for job in JOBS]
    assert str(read[0].progress.loss) == "nan"
    assert repr(read) == repr(JOBS).replace("loss=0.0", "loss=nan", 1)
    assert await database.read(jobs.by_request, "default", "r") is not None


async def test_all_else_reads_the_same(database):
    attempt = Attempt(
        job="job-1",
        number=1,
        submission_id="job-1-1",
        pool="main",
        start_time=2.0,
        launched=True,
        end_time=3.0,
        failure=FAILED,
        released=True,
        report_sequence=9,
    )
    assert await database.read(attempts.of_job, "job-1") == [attempt]
    event = {"sequence": 1, "time": 1.0, "type": "state", "attempt": 0, "message": "m"}
    assert await database.read(events.after, "job-1", 0) == [
        Event(**event, state=JobState.QUEUED, details={"a": 1})
    ]
    assert await database.read(metrics.after, "job-1", 0, 0) == [
        Point(attempt=1, step=5, time=2.5, values={"loss": 1.5})
    ]
    assert await database.read(outbox.due) == [
        PendingCommand(id=1, kind="KILL", job="job-1", attempt=1, tries=2)
    ]
    pool = {"name": "main", "dashboard_url": "http://x", "ray_address": "x"}
    assert await database.read(pools.every) == [Pool(**pool, foreign={"CPU": 2.0})]
    row = STORED["deployments"][0]
    kept = {name: row[name] for name in ("tenant", "name", "owner", "spec", "pool", "generation")}
    demand = Demand(workers=3, cpus=2.0, accelerator="GPU", count=1.0)
    assert await database.read(deployments.every) == [
        Deployment(
            **kept,
            demand=demand,
            waiting=(READ_REASON,),
            create_time=5.0,
        )
    ]
    ensure = {k: v for k, v in STORED["ensures"][0].items() if k not in {"tenant", "owner"}}
    assert await database.read(ensures.every) == {ensure["key"]: EnsureJob(**ensure)}
    principal = Principal(
        subject="job", role=Role.ATTEMPT, tenant="default", job="job-1", attempt=1
    )
    assert await database.write(tickets.redeem, "secret") == principal
    assert (await database.leader()).token == 8


async def test_what_jobs_name_is_their_tenants(database):
    assert await database.read(holdings.check, "default", BLOB) == 1.0
    assert await database.read(holdings.room, "default", "", 10) == 10
    with pytest.raises(errors.NotFoundError):
        await database.read(holdings.check, "other", BLOB)


def test_the_tables_are_those_of_the_code_and_indexes_and_keys_stay(old):
    with sa.create_engine(old).connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        before = indexes(connection)
        migrate(connection, "head")
        assert {*indexes(connection)} >= {*before}
        assert sum("WHERE" in (sql or "") for _, sql in before) == 2
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        orphan = metadata.tables["outbox"].insert()
        lost = {"kind": "KILL", "job": "none", "attempt": 1, "due": 0.0, "tries": 0, "error": ""}
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(orphan, lost)


def test_the_way_back_and_forth_loses_no_row(old):
    with sa.create_engine(old).connect() as connection:
        before = dump(connection)
        migrate(connection, "head")
        after = dump(connection)
        migrate(connection, "0001", down=True)
        assert dump(connection) == before
        migrate(connection, "head")
        assert dump(connection) == after


def dump(connection):
    """Every row of every table, by the names of the columns."""
    tables = sa.inspect(connection).get_table_names()
    query = "SELECT * FROM {}"
    return {
        name: [dict(row._mapping) for row in connection.execute(sa.text(query.format(name)))]
        for name in tables
    }
