"""The parts of a running controller that its services and loops share."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.controller.config import Config
from tessera.controller.oidc.exchange import OidcExchange
from tessera.controller.peers.coordinator import CoordinatorClient
from tessera.controller.peers.trainer import Drivers
from tessera.controller.policy.ledger import Reservation
from tessera.controller.policy.registry import Registry
from tessera.controller.pools.launcher import Launcher
from tessera.controller.pools.state import Pools
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
    oidc: OidcExchange | None = None

    @property
    def issuer(self) -> Issuer:
        """What signs tokens now."""
        return self.trust.issuer

    @property
    def services_pool(self) -> str:
        """The pool of the parameter service: the first one; empty: there is none."""
        states = self.pools.all()
        return states[0].pool.name if states else ""

    async def reservations(self) -> tuple[Reservation, ...]:
        """What Tessera's own work holds on all pools."""
        shards = self.config.shards
        return await self.database.read(reservations, self.services_pool, shards)


def scope(caller: Principal) -> str | None:
    """The tenant whose resources a caller may read; None: every tenant's."""
    return None if caller.role in PLATFORM else caller.tenant
