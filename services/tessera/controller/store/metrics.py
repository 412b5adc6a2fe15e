"""Metric points in the store, bounded for each job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tessera.controller.policy.records import Point
from tessera.controller.store import rows
from tessera.controller.store.schema import metrics

MOST = 2000
"""Points kept for a job; past it every second older one is dropped."""

VALUES = 256
"""Values kept for one step; those that came first stay."""

RECENT = 500
"""The newest points are never thinned."""


def add(connection: sa.Connection, job: str, points: Sequence[Point]) -> None:
    """Store points; what is told of one attempt and step in several points is joined."""
    joined: dict[tuple[int, int], dict[str, Any]] = {}
    for point in points:
        key = point.attempt, point.step
        known = joined.get(key) or _stored(connection, job, *key)
        values = {**known.get("values", {}), **point.values}
        values = dict(islice(values.items(), VALUES))
        joined[key] = {"job": job, **rows.columns(replace(point, values=values))}
    if not joined:
        return
    at = (
        metrics.c.job == job,
        metrics.c.attempt == sa.bindparam("a"),
        metrics.c.step == sa.bindparam("s"),
    )
    connection.execute(
        metrics.delete().where(*at), [{"a": attempt, "s": step} for attempt, step in joined]
    )
    connection.execute(metrics.insert(), list(joined.values()))
    thin(connection, job)


def _stored(connection: sa.Connection, job: str, attempt: int, step: int) -> dict[str, Any]:
    """What is stored of one attempt and step; empty if nothing is."""
    query = sa.select(metrics.c["values"]).where(
        metrics.c.job == job, metrics.c.attempt == attempt, metrics.c.step == step
    )
    found = connection.execute(query).scalar()
    return {} if found is None else {"values": dict(found)}


def thin(connection: sa.Connection, job: str) -> None:
    """Drop every second older point while there are too many."""
    count = sa.select(sa.func.count()).select_from(metrics).where(metrics.c.job == job)
    if (connection.execute(count).scalar() or 0) <= MOST:
        return
    query = (
        sa.select(metrics.c.attempt, metrics.c.step)
        .where(metrics.c.job == job)
        .order_by(metrics.c.attempt, metrics.c.step)
    )
    keys = list(connection.execute(query))
    dropped = [{"a": attempt, "s": step} for attempt, step in keys[1:-RECENT:2]]
    connection.execute(
        metrics.delete().where(
            metrics.c.job == job,
            metrics.c.attempt == sa.bindparam("a"),
            metrics.c.step == sa.bindparam("s"),
        ),
        dropped,
    )


def after(
    connection: sa.Connection, job: str, attempt: int, step: int, limit: int = 500
) -> list[Point]:
    """The next points after (attempt, step), in that order."""
    later = sa.or_(
        metrics.c.attempt > attempt,
        sa.and_(metrics.c.attempt == attempt, metrics.c.step > step),
    )
    query = (
        sa.select(metrics)
        .where(metrics.c.job == job, later)
        .order_by(metrics.c.attempt, metrics.c.step)
        .limit(limit)
    )
    return [rows.record(Point, row) for row in connection.execute(query)]
