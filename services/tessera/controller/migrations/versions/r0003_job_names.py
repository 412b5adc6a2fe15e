"""Jobs are looked up by their name, newest first."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("jobs_tenant_name", "jobs", ["tenant", "name", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("jobs_tenant_name", "jobs")
