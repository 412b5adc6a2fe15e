"""PoolService: the Ray clusters and what is held on them."""

from __future__ import annotations

from typing import Any

from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1 import pool_pb2_grpc as pb_grpc
from tessera.controller.policy.ledger import held
from tessera.controller.policy.records import Pool
from tessera.controller.pools.state import PoolState
from tessera.controller.runtime import Runtime
from tessera.controller.signals import ADMISSION, SERVICES
from tessera.controller.store import pools as store
from tessera.rpc.principal import current_principal


class PoolService(pb_grpc.PoolServiceServicer):
    """Pools for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListPools(self, request: pb.ListPoolsRequest, context: Any) -> pb.ListPoolsResponse:
        """Every pool by name."""
        del request, context
        reservations = await self._runtime.reservations()
        states = sorted(self._runtime.pools.all(), key=lambda state: state.pool.name)
        listed = [_pool_message(state, held(state.pool.name, reservations)) for state in states]
        return pb.ListPoolsResponse(pools=listed)

    async def RegisterPool(
        self, request: pb.RegisterPoolRequest, context: Any
    ) -> pb.RegisterPoolResponse:
        """Add a pool, or change where it is."""
        del context
        caller = current_principal()
        pool = _pool_of(request.pool)
        await self._runtime.database.write(
            store.put, pool, tenant=caller.tenant, owner=caller.subject
        )
        self._runtime.pools.set(pool)
        await self._runtime.pools.refresh()
        self._runtime.signals.wake(ADMISSION, SERVICES)
        state = self._runtime.pools.get(pool.name)
        assert state is not None
        reservations = await self._runtime.reservations()
        return pb.RegisterPoolResponse(pool=_pool_message(state, held(pool.name, reservations)))


def _pool_message(value: PoolState, held: dict[str, float]) -> pb.Pool:
    """A pool, for callers."""
    return pb.Pool(
        name=value.pool.name,
        dashboard_url=value.pool.dashboard_url,
        ray_address=value.pool.ray_address,
        total=value.capacity.total(),
        held=held,
        foreign=value.pool.foreign,
        ray_available=value.available,
        live=value.live,
        message=value.message,
    )


def _pool_of(value: pb.Pool) -> Pool:
    """A pool that is registered."""
    return Pool(
        name=value.name,
        dashboard_url=value.dashboard_url,
        ray_address=value.ray_address,
        foreign=dict(value.foreign),
    )
