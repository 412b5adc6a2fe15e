"""gRPC's asyncio server, which goes on when somebody calls a method whose name is no text.

gRPC itself (1.85) decodes the path of a call in the loop that accepts calls: one frame of a path
that is not UTF-8, of anybody who reaches the port, ends the server and takes memory away from calls
that are under way. Every method of ours is registered, so that calls of other paths come apart:
those are answered with UNIMPLEMENTED here, and their paths are never read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # gRPC's own is not typed


def aio_server(
    options: Sequence[tuple[str, Any]], interceptors: Sequence[grpc.aio.ServerInterceptor]
) -> grpc.aio.Server:
    """A server inside a running loop; only handlers that are registered by method are served."""
    server: Any = grpc.aio.server()
    server._server = _Accepting(  # noqa: SLF001 - gRPC makes no other
        cygrpc.get_working_loop(), None, (), tuple(interceptors), tuple(options), None
    )
    return server  # type: ignore[no-any-return]


class _Nothing:
    """Finds no method."""

    def resolve_handler(self, _: Any) -> None:
        return None


class _Accepting(cygrpc.AioServer):  # type: ignore[misc]
    """Answers what no method is registered for by itself."""

    def _make_request_call_future(self, method: bytes | None) -> Any:
        if method is not None:
            return super()._make_request_call_future(method)
        return asyncio.get_running_loop().create_task(self._answer_unknown())

    async def _answer_unknown(self) -> None:
        """Until the server ends, which ends the wait for a call."""
        loop, under_way = asyncio.get_running_loop(), set()
        while True:
            state = await self._request_call()
            work = cygrpc._handle_rpc("", _Nothing(), (), state, loop, False)  # noqa: SLF001
            task = loop.create_task(
                cygrpc._schedule_rpc_coro(work, state, loop, ""),  # noqa: SLF001
                name="rpc_task",
            )
            under_way.add(task)
            task.add_done_callback(under_way.discard)
