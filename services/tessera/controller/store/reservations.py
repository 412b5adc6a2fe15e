"""What Tessera's own work holds: read off the store, for the ledger."""

from __future__ import annotations

import sqlalchemy as sa

from tessera.controller.policy.ledger import (
    Reservation,
    deployment_reservation,
    job_reservation,
    services_reservation,
)
from tessera.controller.store import attempts, deployments


def reservations(
    connection: sa.Connection, services_pool: str, shards: int
) -> tuple[Reservation, ...]:
    """Everything that is held.

    An attempt holds its share until nothing of it runs any more; so does a deployment.

    Args:
        connection: to the store.
        services_pool: the pool of the parameter service; empty: none yet.
        shards: how many shards stand there.
    """
    found = [services_reservation(services_pool, shards)] if services_pool and shards else []
    found += [
        job_reservation(attempt.pool, job.tenant, job.id, job.demand)
        for job, attempt in attempts.unreleased(connection)
    ]
    found += [
        deployment_reservation(item.pool, item.tenant, item.name, item.demand)
        for item in deployments.every(connection)
        if item.pool
    ]
    return tuple(found)
