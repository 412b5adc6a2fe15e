"""A ticket keeps what its principal may read and write; nobody is just a service or a user."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LENGTHS = {"deployment": 63, "writes": 127}


def upgrade() -> None:
    """Add columns; tickets of roles that are no more are worth nothing."""
    op.execute("DELETE FROM tickets WHERE role IN ('service', 'user')")
    with op.batch_alter_table("tickets") as table:
        for name, length in LENGTHS.items():
            kind = sa.String(length=length)
            table.add_column(sa.Column(name, kind, nullable=False, server_default=""))
        table.add_column(sa.Column("reads", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("tickets") as table:
        for name in (*LENGTHS, "reads"):
            table.drop_column(name)
