"""Tenants, tokens of people and programs, and who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the tenant that everybody was of."""
    made = op.create_table(
        "tenants",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.bulk_insert(made, [{"name": "default", "create_time": 0.0}])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("audience", sa.JSON(), nullable=False),
        sa.Column("creator", sa.String(length=255), nullable=False),
        sa.Column("create_time", sa.Double(), nullable=False),
        sa.Column("expire_time", sa.Double(), nullable=False),
        sa.Column("revoke_time", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tokens_tenant", "tokens", ["tenant", "id"])
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit",
        sa.Column("id", counter, autoincrement=True, nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_tenant", "audit", ["tenant", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("audit")
    op.drop_table("tokens")
    op.drop_table("tenants")
