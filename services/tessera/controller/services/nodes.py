"""NodeService: which nodes there are, and taking them out and back."""

from __future__ import annotations

from typing import Any

from tessera import errors
from tessera.api.controller.v1 import node_pb2 as pb
from tessera.api.controller.v1 import node_pb2_grpc as pb_grpc
from tessera.controller.policy.figures import NodeFigures, figures_of, node_figures
from tessera.controller.policy.quantities import shown_of
from tessera.controller.runtime import Runtime
from tessera.controller.scheduling.node import UNKNOWN_MEMORY
from tessera.controller.scheduling.shape import MEMORY
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.signals import ADMISSION
from tessera.controller.store import nodes as store
from tessera.rpc import pages
from tessera.rpc.principal import Role, current_principal

_PAGES = pages.PageTokens(of="nodes", position=r"[A-Za-z0-9~/._-]{1,255}")

SET_BY_HAND = (pb.NODE_STATE_READY, pb.NODE_STATE_CORDONED, pb.NODE_STATE_DRAINING)


class NodeService(pb_grpc.NodeServiceServicer):
    """Nodes for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        """A page of nodes; whose work is on them only operators see."""
        del context
        size = pages.size_of(request.page_size)
        after = _PAGES.decode(request.page_token)
        await self._runtime.require_lead()
        scheduler = self._runtime.scheduler
        scheduler.check()
        found = await scheduler.run(node_figures, request.pool, after, size + 1)
        shown = found[:size]
        last = f"{shown[-1].node.pool}/{shown[-1].node.id}" if len(found) > size else ""
        operator = current_principal().role is Role.OPERATOR
        return pb.ListNodesResponse(
            nodes=[_shown(item, operator=operator) for item in shown],
            next_page_token=_PAGES.encode(last),
        )

    async def UpdateNode(
        self, request: pb.UpdateNodeRequest, context: Any
    ) -> pb.UpdateNodeResponse:
        """Cordon a node, drain it, or take it back."""
        del context
        if request.state not in SET_BY_HAND:
            raise errors.InvalidArgumentError.at(
                "state", "READY, CORDONED and DRAINING can be set", "INVALID_FIELD"
            )
        await self._runtime.require_lead()
        scheduler = self._runtime.scheduler
        scheduler.check()
        found = await scheduler.run(_figures, request.id)
        if found is None:
            raise errors.NotFoundError(
                f"there is no node '{request.id}'; `tessera nodes` lists them",
                reason="NODE_NOT_FOUND",
            )
        await self._runtime.database.write(
            store.set_state,
            request.id,
            cordoned=request.state == pb.NODE_STATE_CORDONED,
            draining=request.state == pb.NODE_STATE_DRAINING,
            by=current_principal().subject,
        )
        self._runtime.signals.wake(ADMISSION)
        reply = pb.UpdateNodeResponse(node=_shown(found, operator=True))
        reply.node.state = request.state
        return reply


def _figures(state: SchedulerState, id_: str) -> NodeFigures | None:
    row = state.table.rows.get(id_)
    return None if row is None else figures_of(state, state.table.node(row))


def _shown(item: NodeFigures, *, operator: bool) -> pb.Node:
    node = item.node
    untold = {MEMORY} if node.memory >= UNKNOWN_MEMORY else set()
    return pb.Node(
        id=node.id,
        pool=node.pool,
        state=pb.NodeState.Value(f"NODE_STATE_{item.state}"),
        capacity=shown_of({k: v for k, v in item.capacity.items() if k not in untold}),
        free=shown_of({k: v for k, v in item.free.items() if k not in untold}),
        labels=node.labels,
        work=item.work if operator else (),
        failures=node.failures,
        group=node.group.partition("/")[2],
    )
