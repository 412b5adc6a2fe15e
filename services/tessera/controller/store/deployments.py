"""Deployments in the store: what is desired."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.quotas import Quota
from tessera.controller.policy.records import Deployment, Placement
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.store import placements, rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.schema import deployments


def create(connection: sa.Connection, new: Deployment, quota: Quota) -> tuple[Deployment, bool]:
    """Ask for a deployment; the same one twice is one. Returns it and whether it is new.

    Raises:
        ResourceExhaustedError: there are as many as may be (QUOTA_EXCEEDED).
        AlreadyExistsError: another spec has that name (DEPLOYMENT_EXISTS).
        FailedPreconditionError: one of that name is being ended (DEPLOYMENT_DELETING).
    """
    row = connection.execute(_one(new.tenant, new.name).with_for_update()).one_or_none()
    if row is not None:
        return _same(rows.record(Deployment, row), new), False
    query = sa.select(deployments.c.owner).where(deployments.c.tenant == new.tenant)
    owners = list(connection.execute(query).scalars())
    quota.check(new.tenant, new.owner, of_tenant=len(owners), of_principal=owners.count(new.owner))
    values = rows.columns(replace(new, generation=secrets.token_hex(8), create_time=time.time()))
    connection.execute(deployments.insert().values(**values))
    touch(connection, ChangeKind.DEPLOYMENT, new.key)
    return get(connection, new.tenant, new.name), True


def _same(known: Deployment, new: Deployment) -> Deployment:
    if known.deleting:
        raise errors.FailedPreconditionError(
            f"deployment '{known.name}' is being ended; try again in a moment",
            reason="DEPLOYMENT_DELETING",
            violations=[errors.Violation("spec.name", "being ended")],
            retry_after=2.0,
        )
    if known.spec != new.spec:
        raise errors.AlreadyExistsError(
            f"name: deployment '{known.name}' exists with another spec; "
            "delete it first, or choose another name",
            reason="DEPLOYMENT_EXISTS",
            violations=[errors.Violation("spec.name", "exists with another spec")],
        )
    return known


def get(connection: sa.Connection, tenant: str, name: str) -> Deployment:
    """One deployment.

    Raises:
        NotFoundError: there is none (DEPLOYMENT_NOT_FOUND).
    """
    row = connection.execute(_one(tenant, name)).one_or_none()
    if row is None:
        raise errors.NotFoundError(
            f"there is no deployment '{name}'; `tessera models` lists them",
            reason="DEPLOYMENT_NOT_FOUND",
            metadata={"deployment": name},
        )
    return rows.record(Deployment, row)


def page(
    connection: sa.Connection, *, tenant: str | None, after: tuple[str, str], size: int
) -> list[Deployment]:
    """At most `size` deployments by tenant and name, after (tenant, name)."""
    key = sa.tuple_(deployments.c.tenant, deployments.c.name)
    query = (
        sa.select(deployments)
        .where(key > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
        .order_by(deployments.c.tenant, deployments.c.name)
        .limit(size)
    )
    if tenant is not None:
        query = query.where(deployments.c.tenant == tenant)
    return [rows.record(Deployment, row) for row in connection.execute(query)]


def every(connection: sa.Connection) -> list[Deployment]:
    """All deployments, oldest first."""
    query = sa.select(deployments).order_by(deployments.c.create_time)
    return [rows.record(Deployment, row) for row in connection.execute(query)]


def place(connection: sa.Connection, tenant: str, name: str, placement: Placement) -> bool:
    """There is room; False: it is gone, or is being ended."""
    free = sa.and_(_is(tenant, name), deployments.c.deleting.is_(False))
    change = deployments.update().where(free).values(pool=placement.pool, waiting=())
    if not connection.execute(change).rowcount:
        return False
    placements.put(connection, placement)
    return True


def set_waiting(
    connection: sa.Connection, tenant: str, name: str, waiting: tuple[Reason, ...]
) -> None:
    """Store why a deployment has no room."""
    connection.execute(deployments.update().where(_is(tenant, name)).values(waiting=waiting))


def begin_delete(connection: sa.Connection, tenant: str, name: str) -> Deployment:
    """Ask for the end of a deployment; one that was never placed is gone at once.

    Raises:
        NotFoundError: there is none (DEPLOYMENT_NOT_FOUND).
    """
    known = get(connection, tenant, name)
    if not known.pool:
        remove(connection, tenant, name)
    elif not known.deleting:
        change = deployments.update().where(_is(tenant, name))
        connection.execute(change.values(deleting=True, generation=secrets.token_hex(8)))
        touch(connection, ChangeKind.DEPLOYMENT, known.key)
    return known


def remove(connection: sa.Connection, tenant: str, name: str) -> None:
    """Forget a deployment whose replicas are gone."""
    key = f"deployment/{tenant}/{name}"
    connection.execute(deployments.delete().where(_is(tenant, name)))
    placements.drop(connection, key)
    touch(connection, ChangeKind.DEPLOYMENT, key)


def _is(tenant: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(deployments.c.tenant == tenant, deployments.c.name == name)


def _one(tenant: str, name: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(deployments).where(_is(tenant, name))
