"""The lease of the controller that leads expires, and says where that one listens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; the lease that is there has expired."""
    op.add_column("leases", sa.Column("expires", sa.Double(), nullable=False, server_default="0"))
    op.add_column(
        "leases", sa.Column("address", sa.String(length=255), nullable=False, server_default="")
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("leases", "address")
    op.drop_column("leases", "expires")
