"""Queues, nodes and where workers are; what the scheduler has to look at."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _text(name: str, length: int, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=default)


def _demand() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("min_workers", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("alternatives", sa.JSON(), nullable=False, server_default="[]"),
        _text("topology", 32, ""),
        sa.Column("node_selector", sa.JSON(), nullable=False, server_default="{}"),
        _text("within", 8, ""),
        sa.Column("within_required", sa.Boolean(), nullable=False, server_default=sa.true()),
    )


def upgrade() -> None:
    """Add tables and columns, and the queue that everything waited in."""
    for name in ("jobs", "deployments"):
        with op.batch_alter_table(name, recreate="never") as table:
            for column in _demand():
                table.add_column(column)
    with op.batch_alter_table("deployments", recreate="never") as table:
        table.add_column(_text("queue", 63, "default"))
    with op.batch_alter_table("attempts", recreate="never") as table:
        table.add_column(_text("flavour", 64, ""))
        table.add_column(sa.Column("workers", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "placements",
        _text("key", 160),
        _text("pool", 63),
        _text("flavour", 64),
        sa.Column("workers", sa.JSON(), nullable=False),
        sa.Column("start_time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    queues = op.create_table(
        "queues",
        _text("name", 63),
        _text("parent", 63),
        *(
            sa.Column(name, sa.JSON(), nullable=False)
            for name in ("nominal", "borrowing", "lending")
        ),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("tenants", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    empty: dict[str, Any] = {"parent": "", "nominal": {}, "borrowing": {}, "lending": {}}
    first = {**empty, "name": "default", "weight": 1.0, "tenants": [], "create_time": 0.0}
    op.bulk_insert(queues, [first])
    _create_node_tables()
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "changes",
        sa.Column("id", counter, autoincrement=True, nullable=False),
        _text("kind", 16),
        _text("key", 160),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_node_tables() -> None:
    op.create_table(
        "node_marks",
        _text("node", 128),
        sa.Column("cordoned", sa.Boolean(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Double(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        _text("by", 255),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "node_groups",
        _text("pool", 63),
        _text("name", 63),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("min", sa.Integer(), nullable=False),
        sa.Column("max", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pool", "name"),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("changes", "node_groups", "node_marks", "queues", "placements"):
        op.drop_table(name)
    with op.batch_alter_table("attempts", recreate="never") as table:
        for gone in ("flavour", "workers"):
            table.drop_column(gone)
    with op.batch_alter_table("deployments", recreate="never") as table:
        table.drop_column("queue")
    for name in ("jobs", "deployments"):
        with op.batch_alter_table(name, recreate="never") as table:
            for column in _demand():
                table.drop_column(column.name)
