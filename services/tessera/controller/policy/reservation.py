"""What one piece of work holds of a pool. Pure.

Ray's own figure of what is available lags and counts twice; it is shown beside this one and
decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.controller.policy.demand import Amounts, add


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What work holds on a pool; `what` names it for people.

    `tenant` is empty where it is the platform's own.
    """

    pool: str
    what: str
    tenant: str = ""
    amounts: Amounts = field(default_factory=dict)


def held(pool: str, reservations: tuple[Reservation, ...]) -> dict[str, float]:
    """Sum of what is held on a pool."""
    return add(*(item.amounts for item in reservations if item.pool == pool))
