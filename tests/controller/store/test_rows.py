"""Records through rows and back: every field has its column, and every value comes back."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.attempt.failure import Failure
from tessera.attempt.progress import Progress
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobProgress
from tessera.controller.policy.records import (
    Attempt,
    Deployment,
    EnsureJob,
    Event,
    Job,
    NodeMark,
    PendingCommand,
    Placement,
    Point,
    Pool,
    StoredGroup,
    StoredQueue,
    StoredWorker,
)
from tessera.controller.store import rows, schema
from tessera.rpc.identity import Principal

NOT_OF_THE_RECORD = {
    (Job, schema.jobs): set(),
    (Deployment, schema.deployments): set(),
    (Attempt, schema.attempts): {"outcome"},
    (Event, schema.events): {"job"},
    (Point, schema.metrics): {"job"},
    (Pool, schema.pools): {"tenant", "owner", "position"},
    (EnsureJob, schema.ensures): {"tenant", "owner"},
    (PendingCommand, schema.outbox): {"due", "error"},
    (Principal, schema.tickets): {"digest", "expires"},
    (Placement, schema.placements): set(),
    (StoredQueue, schema.queues): set(),
    (StoredGroup, schema.node_groups): set(),
    (NodeMark, schema.node_marks): set(),
}

numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
whole = st.integers(0, 2**31 - 1)
amounts = st.dictionaries(words, numbers, max_size=3)
progress = st.builds(
    Progress, step=whole, loss=numbers, epoch=st.none() | numbers, phase=words, metrics=amounts
)
demands = st.builds(
    Demand,
    workers=whole,
    min_workers=whole,
    cpus=numbers,
    memory=whole,
    accelerator=words,
    count=numbers,
    alternatives=st.lists(words, max_size=3).map(tuple),
    node_selector=st.dictionaries(words, words, max_size=3),
)
workers = st.lists(
    st.builds(
        StoredWorker, node=words, devices=st.lists(whole, max_size=3).map(tuple), group=words
    ),
    max_size=3,
).map(tuple)
RECORDS = {
    Job: st.builds(
        Job,
        **dict.fromkeys(("id", "tenant", "owner", "name", "queue", "request_id", "spec"), words),
        priority=whole,
        labels=st.dictionaries(words, words, max_size=3),
        demand=demands,
        position=st.builds(JobProgress, attempt=whole, failures=whole, retries=whole),
        progress=st.none() | progress,
        event_sequence=whole,
        failure=st.none() | st.builds(Failure, rank=whole, exit_code=whole, message=words),
    ),
    Deployment: st.builds(
        Deployment,
        demand=demands,
    ),
    Placement: st.builds(Placement, workers=workers),
    StoredQueue: st.builds(StoredQueue, tenants=st.lists(words, max_size=2).map(tuple)),
    Pool: st.builds(Pool, foreign=amounts),
}


@pytest.fixture(scope="module")
def engine():
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    schema.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(("kind", "table"), NOT_OF_THE_RECORD, ids=str)
def test_a_field_is_the_column_of_its_name(kind, table):
    columns = {column.name for column in table.columns} - NOT_OF_THE_RECORD[kind, table]
    assert set(names(kind)) == columns


def names(kind):
    for name, part in rows._fields(kind).items():
        yield from [name] if part is None else names(part)


@pytest.mark.parametrize(
    ("kind", "table"),
    [(Job, schema.jobs), (Deployment, schema.deployments), (Pool, schema.pools)],
    ids=["job", "deployment", "pool"],
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_stored_is_read_again(engine, kind, table, data):
    value = data.draw(RECORDS[kind])
    more = {"tenant": "t", "owner": "o", "position": 0} if kind is Pool else {}
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(table.insert().values(**rows.columns(value), **more))
        assert rows.record(kind, connection.execute(sa.select(table)).one()) == value
        transaction.rollback()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_read_as_no_number(engine, number):
    told = Progress(loss=number, epoch=number, metrics={"a": number, "b": 1.0})
    job = Job(
        **dict.fromkeys(("id", "tenant", "owner", "name", "queue", "request_id", "spec"), "x"),
        priority=0,
        labels={},
        request_digest="",
        publish_set="s",
        demand=Demand(workers=1, cpus=1.0),
        progress=told,
    )
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(schema.jobs.insert().values(**rows.columns(job)))
        text = connection.exec_driver_sql("SELECT progress FROM jobs").scalar_one()
        read = rows.record(Job, connection.execute(sa.select(schema.jobs)).one()).progress
        transaction.rollback()
    assert "NaN" not in text
    assert "Infinity" not in text
    nan = dataclasses.replace(told, loss=0.0, epoch=None, metrics={})
    assert dataclasses.replace(read, loss=0.0, metrics={}) == nan
    assert (str(read.loss), str(read.metrics["a"]), read.metrics["b"]) == ("nan", "nan", 1.0)


def test_what_is_absent_is_null_in_the_table(engine):
    with engine.connect() as connection, connection.begin() as transaction:
        value = Deployment(
            **dict.fromkeys(("tenant", "name", "owner", "spec", "generation"), "x"),
            demand=Demand(workers=1, cpus=1.0),
        )
        connection.execute(schema.deployments.insert().values(**rows.columns(value)))
        query = "SELECT waiting, typeof(create_time) FROM deployments"
        assert tuple(connection.exec_driver_sql(query).one()) == ("[]", "real")
        transaction.rollback()
