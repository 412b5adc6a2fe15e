"""What attempts have held of the pools, and for how long: summed by the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tessera.controller.policy.records import Consumption
from tessera.controller.store.schema import attempts, jobs

MOST_ROWS = 10_000
_KEYS = {
    "tenant": jobs.c.tenant,
    "queue": jobs.c.queue,
    "owner": jobs.c.owner,
    "job": jobs.c.id,
}
_MIB_OF_GIB = 1024.0


def sums(
    connection: sa.Connection,
    *,
    tenant: str | None,
    by: Sequence[str],
    since: float,
    until: float,
) -> list[Consumption]:
    """Sums by keys and accelerator, the largest first; at most MOST_ROWS and one.

    Args:
        connection: to the store.
        tenant: whose jobs; None: everybody's.
        by: of `tenant`, `queue`, `owner`, `job`.
        since: seconds since the epoch.
        until: the same; what still runs is counted until then.
    """
    ended = sa.func.coalesce(attempts.c.end_time, until)
    last = sa.case((ended < until, ended), else_=until)
    first = sa.case((attempts.c.start_time > since, attempts.c.start_time), else_=since)
    # An attempt of an earlier build does not say how many workers it had: all of them.
    told = sa.func.json_array_length(attempts.c.workers)
    workers = sa.case((told > 0, told), else_=jobs.c.workers)
    held = (last - first) * workers
    columns: list[sa.ColumnElement[Any]] = [_KEYS[key].label(key) for key in by]
    totals = [
        sa.func.sum(held * jobs.c.count).label("devices"),
        sa.func.sum(held * jobs.c.cpus).label("cpus"),
        sa.func.sum(held * jobs.c.memory).label("memory"),
        sa.func.count().label("attempts"),
    ]
    grouped = [*(_KEYS[key] for key in by), attempts.c.flavour]
    query = (
        sa.select(*columns, attempts.c.flavour, *totals)
        .join(jobs, jobs.c.id == attempts.c.job)
        .where(attempts.c.start_time < until, ended > since)
        .group_by(*grouped)
        .order_by(sa.desc("devices"), sa.desc("cpus"), *grouped)
        .limit(MOST_ROWS + 1)
    )
    if tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    return [_row(row, by) for row in connection.execute(query)]


def _row(row: Any, by: Sequence[str]) -> Consumption:
    return Consumption(
        **{key: getattr(row, key) for key in by},
        accelerator=row.flavour,
        accelerator_seconds=float(row.devices),
        cpu_seconds=float(row.cpus),
        memory_gib_seconds=float(row.memory) / _MIB_OF_GIB,
        attempts=int(row.attempts),
    )
