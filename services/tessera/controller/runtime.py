"""The parts of a running controller that its services and loops share."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.controller.blobs import Blobs
from tessera.controller.config import Config
from tessera.controller.coordinator import Coordinator
from tessera.controller.ids import Ids
from tessera.controller.launcher import Launcher
from tessera.controller.ledger import Holding
from tessera.controller.logs import Logs
from tessera.controller.pools import Pools
from tessera.controller.registry import Registry
from tessera.controller.signals import Signals
from tessera.controller.store.database import Database
from tessera.controller.store.holdings import holdings
from tessera.rpc.identity import SERVICE, Issuer, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything there is one of."""

    config: Config
    database: Database
    signals: Signals
    registry: Registry
    pools: Pools
    launcher: Launcher
    coordinator: Coordinator
    logs: Logs
    blobs: Blobs
    issuer: Issuer
    ids: Ids

    @property
    def standing_pool(self) -> str:
        """The pool of the parameter service: the first one; empty: there is none."""
        states = self.pools.all()
        return states[0].pool.name if states else ""

    async def holdings(self) -> tuple[Holding, ...]:
        """What Tessera's own work holds on all pools."""
        shards = self.config.shards
        return await self.database.read(holdings, self.standing_pool, shards)


def scope(caller: Principal) -> str | None:
    """The tenant whose resources a caller may read; None: every tenant's."""
    return None if caller.role == SERVICE else caller.tenant
