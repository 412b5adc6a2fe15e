"""Brings the schema to the newest revision, once, under a lock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tessera import errors

_LOCK = 0x7E55E7A
"""Of PostgreSQL's advisory locks; held to the end of the transaction that migrates."""


def migrate(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision, in the transaction of the connection.

    Raises:
        FailedPreconditionError: a newer build has used the database (SCHEMA_NEWER).
    """
    if not is_current(connection):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def lock(connection: sa.Connection) -> None:
    """Wait for others that migrate; on SQLite the transaction has the file's lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def has_lease(connection: sa.Connection) -> bool:
    """Whether the schema is one whose lease expires; before that nobody can share it."""
    inspector = sa.inspect(connection)
    return inspector.has_table("leases") and any(
        column["name"] == "expires" for column in inspector.get_columns("leases")
    )


def is_current(connection: sa.Connection) -> bool:
    """Whether the schema is that of this build.

    Raises:
        FailedPreconditionError: a newer build has used the database (SCHEMA_NEWER).
    """
    found = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise errors.FailedPreconditionError(
            f"the database has revision {found} of the schema, which this build does not know; "
            "start a controller that is as new as the one that used it last",
            reason="SCHEMA_NEWER",
            metadata={"revision": found},
        )
    return found == scripts.get_current_head()


def _config() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", "tessera.controller:migrations")
    return config
