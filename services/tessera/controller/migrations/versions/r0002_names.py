"""Columns bear the names of the records' fields; columns that nothing used are gone.

SQLite and PostgreSQL both rename and drop columns in place: tables, keys and indexes stay. A copy
of `jobs`, as batch mode makes it, would fail on the rows that refer to it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_RENAMED = (
    ("jobs", "cpus_per_worker", "cpus"),
    ("jobs", "accelerator_count", "count"),
    ("deployments", "replicas", "workers"),
    ("deployments", "cpus_per_replica", "cpus"),
    ("deployments", "accelerator_count", "count"),
    ("pools", "foreign_use", "foreign"),
)
_FENCES = (("jobs", "lease"), ("outbox", "lock"))


def upgrade() -> None:
    """Rename and drop."""
    for table, old, new in _RENAMED:
        op.alter_column(table, old, new_column_name=new)
    op.drop_column("jobs", "dependencies")
    for table, prefix in _FENCES:
        for part in ("owner", "token", "expires"):
            op.drop_column(table, f"{prefix}_{part}")


def downgrade() -> None:
    """Name them as before; the columns come back empty."""
    for table, prefix in _FENCES:
        op.add_column(table, sa.Column(f"{prefix}_owner", sa.String(length=64)))
        op.add_column(table, sa.Column(f"{prefix}_token", sa.BigInteger()))
        op.add_column(table, sa.Column(f"{prefix}_expires", sa.Double()))
    op.add_column("jobs", sa.Column("dependencies", sa.JSON(), nullable=False, server_default="[]"))
    for table, old, new in reversed(_RENAMED):
        op.alter_column(table, new, new_column_name=old)
