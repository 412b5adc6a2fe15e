"""The tables. Portable between SQLite and PostgreSQL; times are seconds since the epoch.

A column bears the name of the record's field (`store.rows`). The row in `leases` fences writers.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from tessera.controller.policy.job import JobState
from tessera.controller.policy.stop import StopCause
from tessera.controller.store.encodings import (
    Json,
    Named,
    failure,
    hold,
    progress,
    reasons,
    workers,
)
from tessera.rpc.principal import Role

metadata = MetaData()

_COUNTER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts only in columns of type INTEGER."""

UNFINISHED = text("state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')")
"""Of a job; a query takes an index for it only if it says it in the same words."""
_ASKED = text("request_id <> ''")


def _demand() -> tuple[Column[Any], ...]:
    """What work asks of a pool: the fields of `policy.demand.Demand`."""
    return (
        Column("workers", Integer, nullable=False),
        Column("cpus", Double, nullable=False),
        Column("accelerator", String(64), nullable=False),
        Column("count", Double, nullable=False),
        Column("min_workers", Integer, nullable=False, server_default="0"),
        Column("memory", BigInteger, nullable=False, server_default="0"),
        Column("alternatives", Json(tuple), nullable=False, server_default="[]"),
        Column("topology", String(32), nullable=False, server_default=""),
        Column("node_selector", Json(), nullable=False, server_default="{}"),
        Column("within", String(8), nullable=False, server_default=""),
        Column("within_required", Boolean, nullable=False, server_default=true()),
    )


leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("acquired", Double, nullable=False),
    Column("expires", Double, nullable=False, server_default="0"),
    Column("address", String(255), nullable=False, server_default=""),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("name", String(63), nullable=False),
    Column("queue", String(63), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("labels", Json(), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    *_demand(),
    Column("publish_set", String(63), nullable=False),
    Column("state", Named(JobState, 16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("interruptions", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("event_sequence", BigInteger, nullable=False),
    Column("waiting", Json(reasons), nullable=False),
    Column("progress", Json(progress)),
    Column("failure", Json(failure)),
    Column("create_time", Double, nullable=False),
    Column("start_time", Double),
    Column("end_time", Double),
    Column("streak", Integer, nullable=False, server_default="0"),
    Column("stop_cause", Named(StopCause, 32)),
    Column("stop_message", Text, nullable=False, server_default=""),
    Column("hold", Json(hold)),
    Column("time_limit", Double, nullable=False, server_default="0"),
    Column("start_within", Double, nullable=False, server_default="0"),
    Column("stall_timeout", Double, nullable=False, server_default="0"),
    Column("ttl", Double, nullable=False, server_default="0"),
    Column("preemptible", Boolean, nullable=False, server_default=true()),
    Column("min_runtime", Double, nullable=False, server_default="0"),
    Column("start_deadline", Double),
    Column("stop_deadline", Double),
    Column("stall_deadline", Double),
    Column("delete_time", Double),
    Index("jobs_tenant_id", "tenant", "id"),
    Index("jobs_tenant_name", "tenant", "name", "id"),
    Index("jobs_tenant_state", "tenant", "state", "id"),
    Index("jobs_tenant_owner", "tenant", "owner", "id"),
    Index("jobs_tenant_queue", "tenant", "queue", "id"),
    Index("jobs_state", "state"),
    Index("jobs_end", "end_time"),
    *(
        Index(
            f"jobs_{name}",
            name,
            sqlite_where=text(f"{name} IS NOT NULL"),
            postgresql_where=text(f"{name} IS NOT NULL"),
        )
        for name in ("start_deadline", "stop_deadline", "stall_deadline", "delete_time")
    ),
    Index(
        "jobs_open",
        "tenant",
        "owner",
        "state",
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    ),
    Index(
        "jobs_request",
        "tenant",
        "request_id",
        unique=True,
        sqlite_where=_ASKED,
        postgresql_where=_ASKED,
    ),
    Index(
        "jobs_publish",
        "tenant",
        "publish_set",
        unique=True,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    ),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("key", String(63), primary_key=True),
    Column("value", String(255), primary_key=True),
    Column("job", String(64), ForeignKey("jobs.id"), primary_key=True),
    Index("job_labels_job", "job"),
)
"""The labels of jobs, to find jobs by them."""

events = Table(
    "events",
    metadata,
    Column("job", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("time", Double, nullable=False),
    Column("type", String(32), nullable=False),
    Column("state", Named(JobState, 16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Json(), nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("submission_id", String(96), nullable=False, unique=True),
    Column("pool", String(63), nullable=False),
    Column("start_time", Double, nullable=False),
    Column("flavour", String(64), nullable=False, server_default=""),
    Column("workers", Json(workers), nullable=False, server_default="[]"),
    Column("launched", Boolean, nullable=False),
    Column("end_time", Double),
    Column("failure", Json(failure)),
    Column("outcome", Json()),
    Column("released", Boolean, nullable=False),
    Column("report_sequence", BigInteger, nullable=False),
    Index("attempts_released", "released"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("job", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("time", Double, nullable=False),
    Column("values", Json(), nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _COUNTER, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("job", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("due", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Index("outbox_due", "due"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("create_time", Double, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(63), ForeignKey("tenants.name"), nullable=False),
    Column("role", Named(Role, 16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("audience", Json(tuple), nullable=False),
    Column("creator", String(255), nullable=False),
    Column("create_time", Double, nullable=False),
    Column("expire_time", Double, nullable=False),
    Column("revoke_time", Double),
    Index("tokens_tenant", "tenant", "id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _COUNTER, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("subject", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("method", String(64), nullable=False),
    Column("resource", String(255), nullable=False),
    Column("outcome", String(64), nullable=False),
    Index("audit_tenant", "tenant", "id"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("role", Named(Role, 16), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("job", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("deployment", String(63), nullable=False, server_default=""),
    Column("writes", String(127), nullable=False, server_default=""),
    Column("reads", Json(tuple), nullable=False, server_default="[]"),
    Column("expires", Double, nullable=False),
)

pools = Table(
    "pools",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("dashboard_url", Text, nullable=False),
    Column("ray_address", Text, nullable=False),
    Column("foreign", Json(), nullable=False),
    Column("token", Text, nullable=False, server_default=""),
    Column("position", Integer, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("used", Double, nullable=False),
    Index("blobs_digest", "digest"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("spec", Text, nullable=False),
    *_demand(),
    Column("queue", String(63), nullable=False, server_default="default"),
    Column("deleting", Boolean, nullable=False),
    Column("pool", String(63), nullable=False),
    Column("generation", String(64), nullable=False),
    Column("waiting", Json(reasons), nullable=False),
    Column("create_time", Double, nullable=False),
)

ensures = Table(
    "ensures",
    metadata,
    Column("key", String(160), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("submission_id", String(96), nullable=False),
    Column("pool", String(63), nullable=False),
    Column("cluster", String(128), nullable=False),
    Column("generation", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("failures", Integer, nullable=False),
    Column("message", Text, nullable=False),
    UniqueConstraint("submission_id", name="ensures_submission"),
)

placements = Table(
    "placements",
    metadata,
    Column("key", String(160), primary_key=True),
    Column("pool", String(63), nullable=False),
    Column("flavour", String(64), nullable=False),
    Column("workers", Json(workers), nullable=False),
    Column("start_time", Double, nullable=False),
)

queues = Table(
    "queues",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("parent", String(63), nullable=False),
    Column("nominal", Json(), nullable=False),
    Column("borrowing", Json(), nullable=False),
    Column("lending", Json(), nullable=False),
    Column("weight", Double, nullable=False),
    Column("tenants", Json(tuple), nullable=False),
    Column("create_time", Double, nullable=False),
)

node_marks = Table(
    "node_marks",
    metadata,
    Column("node", String(128), primary_key=True),
    Column("cordoned", Boolean, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("failures", Double, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", String(255), nullable=False),
)

node_groups = Table(
    "node_groups",
    metadata,
    Column("pool", String(63), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("resources", Json(), nullable=False),
    Column("labels", Json(), nullable=False),
    Column("min", Integer, nullable=False),
    Column("max", Integer, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("id", _COUNTER, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("key", String(160), nullable=False),
)
"""What the scheduler has to look at: written with what has changed, dropped once it has."""
