"""PoolService: the Ray clusters and what is held on them."""

from __future__ import annotations

from typing import Any

from tessera import errors
from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1 import pool_pb2_grpc as pb_grpc
from tessera.controller.policy.records import Pool
from tessera.controller.policy.reservation import Reservation, held
from tessera.controller.pools.launcher import CALL_SECONDS
from tessera.controller.pools.secrets import of_file, of_variable
from tessera.controller.pools.state import PoolState
from tessera.controller.runtime import Runtime
from tessera.controller.signals import ADMISSION, SERVICES
from tessera.controller.store import pools as store
from tessera.rpc.principal import Role, current_principal


class PoolService(pb_grpc.PoolServiceServicer):
    """Pools for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListPools(self, request: pb.ListPoolsRequest, context: Any) -> pb.ListPoolsResponse:
        """Every pool by name, with what the caller may know of it."""
        del request, context
        reservations = await self._runtime.reservations()
        states = sorted(self._runtime.pools.all(), key=lambda state: state.pool.name)
        return pb.ListPoolsResponse(pools=[_shown(state, reservations) for state in states])

    async def RegisterPool(
        self, request: pb.RegisterPoolRequest, context: Any
    ) -> pb.RegisterPoolResponse:
        """Add a pool, or change where it is."""
        del context
        caller = current_principal()
        pool = await self._runtime.database.write(
            store.change, _pool_of(request), tenant=caller.tenant, owner=caller.subject
        )
        self._runtime.pools.set(pool)
        await self._runtime.pools.refresh(CALL_SECONDS)
        self._runtime.signals.wake(ADMISSION, SERVICES)
        state = self._runtime.pools.get(pool.name)
        if state is None:
            raise errors.AbortedError(
                f"pool '{pool.name}' was deleted while it was registered", reason="POOL_DELETED"
            )
        return pb.RegisterPoolResponse(pool=_shown(state, await self._runtime.reservations()))

    async def DeletePool(
        self, request: pb.DeletePoolRequest, context: Any
    ) -> pb.DeletePoolResponse:
        """Forget a pool that holds nothing of Tessera's."""
        del context
        runtime = self._runtime
        if request.name in {pool.name for pool in runtime.config.pools}:
            raise errors.FailedPreconditionError(
                f"pool '{request.name}' is one that the controller is started with, by --pool",
                reason="POOL_CONFIGURED",
            )
        await runtime.database.write(store.delete, request.name)
        runtime.pools.remove(request.name)
        runtime.signals.wake(ADMISSION, SERVICES)
        return pb.DeletePoolResponse()


def _shown(value: PoolState, reservations: tuple[Reservation, ...]) -> pb.Pool:
    """A pool, for the caller: where it is, and what others hold, is the operators' to know."""
    caller, name = current_principal(), value.pool.name
    if caller.role is not Role.OPERATOR:
        own = tuple(item for item in reservations if item.tenant == caller.tenant)
        total = value.total
        return pb.Pool(name=name, total=total, held=held(name, own), live=value.live)
    return pb.Pool(
        name=name,
        dashboard_url=value.pool.dashboard_url,
        ray_address=value.pool.ray_address,
        total=value.total,
        held=held(name, reservations),
        foreign=value.pool.foreign,
        ray_available=value.available,
        live=value.live,
        message=value.message,
    )


def _pool_of(request: pb.RegisterPoolRequest) -> Pool:
    """A pool that is registered."""
    value, token = request.pool, ""
    match request.token.WhichOneof("source"):
        case "file":
            token = of_file(request.token.file)
        case "env":
            token = of_variable(request.token.env)
    return Pool(
        name=value.name,
        dashboard_url=value.dashboard_url,
        ray_address=value.ray_address,
        foreign=dict(value.foreign),
        token=token,
    )
