"""What Tessera's own work holds of pools: read off the store."""

from __future__ import annotations

import sqlalchemy as sa

from tessera.controller.policy.demand import STANDING_CPUS
from tessera.controller.policy.reservation import Reservation
from tessera.controller.policy.workloads import SERVICES
from tessera.controller.store import attempts, deployments, placements


def reservations(connection: sa.Connection) -> tuple[Reservation, ...]:
    """Everything that is held.

    An attempt holds its share until nothing of it runs any more; so does a deployment.
    """
    found = [
        Reservation(
            pool=attempt.pool,
            what=job.id,
            tenant=job.tenant,
            amounts=job.demand.total(len(attempt.workers)),
        )
        for job, attempt in attempts.unreleased(connection)
    ]
    found += [
        Reservation(
            pool=item.pool,
            what=f"deployment {item.name}",
            tenant=item.tenant,
            amounts=item.demand.total(),
        )
        for item in deployments.every(connection)
        if item.pool
    ]
    standing = placements.every(connection).get(SERVICES)
    if standing is not None:
        cpus = STANDING_CPUS * len(standing.workers)
        services = Reservation(pool=standing.pool, what="parameter service", amounts={"CPU": cpus})
        found.insert(0, services)
    return tuple(found)
