"""Holds, stops and deadlines of jobs; jobs are found by state, owner, queue and label."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

_DEADLINES = ("start_deadline", "stop_deadline", "stall_deadline", "delete_time")
_LIMITS = ("time_limit", "start_within", "stall_timeout", "ttl", "min_runtime")
_FOUND_BY = ("state", "owner", "queue")
_BATCH = 1000


def upgrade() -> None:
    """Add columns, indices and the table of labels; fill it."""
    # Not as a batch, which would make the table anew beneath those that refer to it.
    op.add_column("jobs", sa.Column("streak", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("stop_cause", sa.String(length=32), nullable=True))
    op.add_column("jobs", sa.Column("stop_message", sa.Text(), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("hold", sa.JSON(), nullable=True))
    for name in _LIMITS:
        op.add_column("jobs", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    op.add_column(
        "jobs", sa.Column("preemptible", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    for name in _DEADLINES:
        op.add_column("jobs", sa.Column(name, sa.Double(), nullable=True))
    for name in _DEADLINES:
        here = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"jobs_{name}", "jobs", [name], sqlite_where=here, postgresql_where=here)
    for name in _FOUND_BY:
        op.create_index(f"jobs_tenant_{name}", "jobs", ["tenant", name, "id"])
    op.create_index("jobs_end", "jobs", ["end_time"])
    labels = op.create_table(
        "job_labels",
        sa.Column("tenant", sa.String(length=64), primary_key=True),
        sa.Column("key", sa.String(length=63), primary_key=True),
        sa.Column("value", sa.String(length=255), primary_key=True),
        sa.Column("job", sa.String(length=64), sa.ForeignKey("jobs.id"), primary_key=True),
    )
    op.create_index("job_labels_job", "job_labels", ["job"])
    _fill(labels)


def _fill(labels: sa.Table) -> None:
    connection = op.get_bind()
    last = ""
    while True:
        query = sa.text(
            "SELECT id, tenant, labels FROM jobs WHERE id > :last ORDER BY id LIMIT :size"
        )
        found = connection.execute(query, {"last": last, "size": _BATCH}).all()
        if not found:
            return
        last = found[-1].id
        rows = [
            {"tenant": row.tenant, "key": key, "value": value, "job": row.id}
            for row in found
            for key, value in _read(row.labels).items()
        ]
        if rows:
            op.bulk_insert(labels, rows)


def _read(stored: object) -> dict[str, str]:
    # PostgreSQL hands JSON over as a value, SQLite as text.
    read: dict[str, str] = json.loads(stored) if isinstance(stored, str) else stored  # type: ignore[assignment]
    return read or {}


def downgrade() -> None:
    """Take them away."""
    op.drop_table("job_labels")
    op.drop_index("jobs_end", "jobs")
    for name in _FOUND_BY:
        op.drop_index(f"jobs_tenant_{name}", "jobs")
    for name in _DEADLINES:
        op.drop_index(f"jobs_{name}", "jobs")
    for name in (
        *_DEADLINES,
        *_LIMITS,
        "preemptible",
        "hold",
        "stop_message",
        "stop_cause",
        "streak",
    ):
        op.drop_column("jobs", name)
