"""What is free on a pool: its total less what Tessera's own work holds less foreign use. Pure.

Ray's own figure of what is available lags and counts twice; it is shown beside this one and
decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.controller.policy.demand import STANDING_CPUS, Amounts, Demand, add, subtract


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What one piece of work holds on a pool; `what` names it for people.

    `tenant` is empty where it is the platform's own.
    """

    pool: str
    what: str
    tenant: str = ""
    amounts: Amounts = field(default_factory=dict)


def job_reservation(pool: str, tenant: str, job: str, demand: Demand) -> Reservation:
    """What an attempt of a job holds."""
    return Reservation(pool=pool, what=job, tenant=tenant, amounts=demand.total())


def deployment_reservation(pool: str, tenant: str, name: str, demand: Demand) -> Reservation:
    """What the replicas of a deployment hold."""
    what = f"deployment {name}"
    return Reservation(pool=pool, what=what, tenant=tenant, amounts=demand.total())


def services_reservation(pool: str, shards: int) -> Reservation:
    """What the coordinator and the shards hold."""
    cpus = STANDING_CPUS * (shards + 1)
    return Reservation(pool=pool, what="parameter service", amounts={"CPU": cpus})


def held(pool: str, reservations: tuple[Reservation, ...]) -> dict[str, float]:
    """Sum of what is held on a pool."""
    return add(*(item.amounts for item in reservations if item.pool == pool))


def free(
    pool: str, total: Amounts, reservations: tuple[Reservation, ...], foreign: Amounts
) -> dict[str, float]:
    """What new work may take on a pool; below zero where a pool has shrunk."""
    return subtract(total, held(pool, reservations), foreign)
