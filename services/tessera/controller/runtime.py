"""The parts of a running controller that its services and loops share."""

from __future__ import annotations

from dataclasses import dataclass

from tessera import errors
from tessera.controller.config import Config
from tessera.controller.oidc.exchange import OidcExchange
from tessera.controller.peers.coordinator import CoordinatorClient
from tessera.controller.peers.trainer import Drivers
from tessera.controller.policy.lease import STANDBY_SECONDS
from tessera.controller.policy.registry import Registry
from tessera.controller.policy.reservation import Reservation
from tessera.controller.pools.launcher import Launcher
from tessera.controller.pools.state import Pools
from tessera.controller.scheduler import WorkloadScheduler
from tessera.controller.signals import Signals
from tessera.controller.store.blobs import BlobStore
from tessera.controller.store.database import Database
from tessera.controller.store.ids import Ids
from tessera.controller.store.logs import Logs
from tessera.controller.store.reservations import reservations
from tessera.controller.trust import Trust
from tessera.rpc.identity import Issuer
from tessera.rpc.principal import PLATFORM, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything there is one of."""

    config: Config
    database: Database
    signals: Signals
    registry: Registry
    pools: Pools
    launcher: Launcher
    coordinator: CoordinatorClient
    drivers: Drivers
    logs: Logs
    blobs: BlobStore
    trust: Trust
    ids: Ids
    scheduler: WorkloadScheduler
    oidc: OidcExchange | None = None

    @property
    def issuer(self) -> Issuer:
        """What signs tokens now."""
        return self.trust.issuer

    async def require_lead(self) -> None:
        """What stands in the leader's memory can be asked of the leader alone.

        Raises:
            UnavailableError: this process waits to lead; says who does (NOT_LEADER).
        """
        if self.database.leads:
            return
        found = await self.database.leader()
        address = found.address if found else ""
        raise errors.UnavailableError(
            "this controller is a standby; " + (f"{address} leads" if address else "none leads"),
            reason="NOT_LEADER",
            metadata={"leader": address},
            retry_after=STANDBY_SECONDS,
        )

    async def reservations(self) -> tuple[Reservation, ...]:
        """What Tessera's own work holds on all pools."""
        return await self.database.read(reservations)


def scope(caller: Principal) -> str | None:
    """The tenant whose resources a caller may read; None: every tenant's."""
    return None if caller.role in PLATFORM else caller.tenant
