"""What Tessera's own work holds: read off the store, for the ledger."""

from __future__ import annotations

import sqlalchemy as sa

from tessera.controller.ledger import (
    Holding,
    deployment_holding,
    job_holding,
    standing_holding,
)
from tessera.controller.store import attempts, deployments


def holdings(connection: sa.Connection, standing_pool: str, shards: int) -> tuple[Holding, ...]:
    """Everything that is held.

    An attempt holds its share until nothing of it runs any more; so does a deployment.

    Args:
        connection: to the store.
        standing_pool: the pool of the parameter service; empty: none yet.
        shards: how many shards stand there.
    """
    found = [standing_holding(standing_pool, shards)] if standing_pool and shards else []
    found += [
        job_holding(attempt.pool, job.id, job.demand)
        for job, attempt in attempts.unreleased(connection)
    ]
    found += [
        deployment_holding(item.pool, item.name, item.demand)
        for item in deployments.every(connection)
        if item.pool
    ]
    return tuple(found)
