"""PoolService: the Ray clusters and what is held on them."""

from __future__ import annotations

from typing import Any

from tessera import errors
from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1 import pool_pb2_grpc as pb_grpc
from tessera.controller.policy.ledger import held
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import ADMISSION, SERVICES
from tessera.controller.store import pools as store
from tessera.rpc.identity import ATTEMPT, current_principal


class PoolService(pb_grpc.PoolServiceServicer):
    """Pools for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListPools(self, request: pb.ListPoolsRequest, context: Any) -> pb.ListPoolsResponse:
        """Every pool by name."""
        del request, context
        reservations = await self._runtime.reservations()
        states = sorted(self._runtime.pools.all(), key=lambda state: state.pool.name)
        listed = [convert.pool(state, held(state.pool.name, reservations)) for state in states]
        return pb.ListPoolsResponse(pools=listed)

    async def RegisterPool(
        self, request: pb.RegisterPoolRequest, context: Any
    ) -> pb.RegisterPoolResponse:
        """Add a pool, or change where it is."""
        del context
        caller = current_principal()
        if caller.role == ATTEMPT:
            raise errors.PermissionDeniedError("an attempt may not register pools")
        pool = convert.from_pool(request.pool)
        await self._runtime.database.write(
            store.put, pool, tenant=caller.tenant, owner=caller.subject
        )
        self._runtime.pools.set(pool)
        await self._runtime.pools.refresh()
        self._runtime.signals.wake(ADMISSION, SERVICES)
        state = self._runtime.pools.get(pool.name)
        assert state is not None
        reservations = await self._runtime.reservations()
        return pb.RegisterPoolResponse(pool=convert.pool(state, held(pool.name, reservations)))
