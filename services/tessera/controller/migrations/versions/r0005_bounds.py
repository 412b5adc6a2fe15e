"""A pool has its own token; a blob belongs to tenants; open jobs are counted by an index.

What the jobs of a tenant name becomes the tenant's; its size counts nothing towards a quota.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')")
_DIGEST = re.compile(r"blob://([0-9a-f]{64})")


def upgrade() -> None:
    """Add columns, table and index; fill the table."""
    with op.batch_alter_table("pools") as table:
        table.add_column(sa.Column("token", sa.Text(), nullable=False, server_default=""))
    blobs = op.create_table(
        "blobs",
        sa.Column("tenant", sa.String(length=64), primary_key=True),
        sa.Column("digest", sa.String(length=64), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Double(), nullable=False),
    )
    op.create_index("blobs_digest", "blobs", ["digest"])
    op.create_index(
        "jobs_open",
        "jobs",
        ["tenant", "owner", "state"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    used: dict[tuple[str, str], float] = {}
    rows = op.get_bind().execute(sa.text("SELECT tenant, spec, create_time FROM jobs"))
    for tenant, spec, created in rows:
        for digest in _DIGEST.findall(spec):
            used[tenant, digest] = max(created, used.get((tenant, digest), 0.0))
    if used:
        op.bulk_insert(
            blobs,
            [
                {"tenant": tenant, "digest": digest, "size": 0, "used": at}
                for (tenant, digest), at in used.items()
            ],
        )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("jobs_open", "jobs")
    op.drop_table("blobs")
    with op.batch_alter_table("pools") as table:
        table.drop_column("token")
