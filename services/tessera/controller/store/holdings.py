"""Which tenant has which blob. Equal files of two tenants lie on the disk once.

Nobody learns from it: a tenant sees its own, and who uploads what another one has sends it whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.quotas import exceeded
from tessera.controller.store.schema import UNFINISHED, blobs, jobs

_NAMED = re.compile(r"blob://([0-9a-f]{64})")

USED_SECONDS = 3600.0
"""Age from which on a use is written down again."""


def check(connection: sa.Connection, tenant: str, digest: str) -> float:
    """When a tenant last used a blob that it has, in seconds since the epoch.

    Raises:
        NotFoundError: it has none of that digest (BLOB_NOT_FOUND).
    """
    used = connection.execute(sa.select(blobs.c.used).where(*_at(tenant, digest))).scalar()
    if used is None:
        raise errors.NotFoundError(f"there is no blob {digest}", reason="BLOB_NOT_FOUND")
    return float(used)


def check_named(connection: sa.Connection, tenant: str, spec: str) -> None:
    """Raise unless a tenant has every blob that the JSON of a spec names.

    Raises:
        NotFoundError: it has not, whoever else has (BLOB_NOT_FOUND).
    """
    named = sorted(set(_NAMED.findall(spec)))
    if not named:
        return
    mine = sa.select(blobs.c.digest).where(blobs.c.tenant == tenant, blobs.c.digest.in_(named))
    had = set(connection.execute(mine).scalars())
    if missing := [digest for digest in named if digest not in had]:
        message = f"blob://{missing[0]}: tenant {tenant} has uploaded no such file; upload it first"
        raise errors.NotFoundError(
            f"spec: {message}",
            reason="BLOB_NOT_FOUND",
            violations=[errors.Violation("spec", message)],
        )


def touch(connection: sa.Connection, tenant: str, digest: str) -> None:
    """A tenant uses a blob now."""
    connection.execute(blobs.update().where(*_at(tenant, digest)).values(used=time.time()))


def room(connection: sa.Connection, tenant: str, digest: str, quota: int) -> int:
    """Bytes that a tenant may still store as a blob; those of that digest are replaced."""
    total = sa.select(sa.func.coalesce(sa.func.sum(blobs.c.size), 0)).where(
        blobs.c.tenant == tenant, blobs.c.digest != digest
    )
    return quota - int(connection.execute(total).scalar_one())


def add(
    connection: sa.Connection,
    tenant: str,
    digest: str,
    size: int,
    *,
    quota: int,
    there: Callable[[str], bool],
) -> None:
    """A tenant has a blob, which lies on the disk.

    Raises:
        ResourceExhaustedError: it would have too many bytes (QUOTA_EXCEEDED).
        UnavailableError: the file was collected meanwhile (BLOB_COLLECTED).
    """
    if size > room(connection, tenant, digest, quota):
        raise exceeded("bytes of uploaded files", quota, f"tenant '{tenant}'")
    if not there(digest):
        raise errors.UnavailableError("the file is gone; send it again", reason="BLOB_COLLECTED")
    values = {"size": size, "used": time.time()}
    changed = connection.execute(blobs.update().where(*_at(tenant, digest)).values(**values))
    if not changed.rowcount:
        connection.execute(blobs.insert().values(tenant=tenant, digest=digest, **values))


def collect(connection: sa.Connection, unused: float, drop: Callable[[set[str]], None]) -> int:
    """Forget what no unfinished job of its tenant names and nobody has used for a while.

    Args:
        connection: to the store, for writing: nothing is added meanwhile.
        unused: seconds.
        drop: told the digests that some tenant still has; it drops every other file.

    Returns:
        How many blobs of tenants were forgotten.
    """
    old = sa.select(blobs.c.tenant, blobs.c.digest).where(blobs.c.used < time.time() - unused)
    named: dict[str, set[str]] = {}
    for tenant, spec in connection.execute(sa.select(jobs.c.tenant, jobs.c.spec).where(UNFINISHED)):
        named.setdefault(tenant, set()).update(_NAMED.findall(spec))
    gone = [
        (tenant, digest)
        for tenant, digest in connection.execute(old)
        if digest not in named.get(tenant, ())
    ]
    for tenant, digest in gone:
        connection.execute(blobs.delete().where(*_at(tenant, digest)))
    drop(set(connection.execute(sa.select(blobs.c.digest).distinct()).scalars()))
    return len(gone)


def _at(tenant: str, digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    return blobs.c.tenant == tenant, blobs.c.digest == digest
