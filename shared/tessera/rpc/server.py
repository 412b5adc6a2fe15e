"""Servers: one asyncio server for control and streams, one threaded server for bulk data.

Neither touches signals: inside a Ray actor the loop is not on the main thread. Only `__main__`
modules own signals, and whoever owns the server calls `drain`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as aio_health
from grpc_reflection.v1alpha import reflection

from tessera import errors
from tessera.rpc.address import join
from tessera.rpc.channel import SERVER_OPTIONS
from tessera.rpc.door import Door
from tessera.rpc.interceptors import ServerInterceptor
from tessera.rpc.principal import Principal
from tessera.rpc.status import to_status

log = structlog.get_logger()

Register = Callable[[Any], None]


class Server:
    """An asyncio gRPC server with health, reflection and Tessera's interceptors.

    Make and start it inside a running loop.

    Args:
        door: who may come in, and with what.
        services: full names of the services and the functions that add each to a server.
        settle: seconds between turning NOT_SERVING and refusing calls.
    """

    def __init__(
        self,
        door: Door,
        services: Sequence[tuple[str, Register]],
        *,
        settle: float = 0.0,
    ) -> None:
        self._settle = settle
        self._names = [name for name, _ in services]
        door.cover(self._names)
        self._health = aio_health.HealthServicer()
        self._server = grpc.aio.server(
            options=SERVER_OPTIONS,
            interceptors=[ServerInterceptor(door)],
        )
        for _, register in services:
            register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [*self._names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on host:port (0: any free one) and report SERVING; returns the port."""
        self.port = _bound(self._server, host, port)
        await self._server.start()
        await self.set_serving(serving=True)
        return self.port

    async def set_serving(self, *, serving: bool, name: str | None = None) -> None:
        """Set the health of one service, or of all and the server as a whole."""
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if serving else status.NOT_SERVING
        for service in [name] if name is not None else ["", *self._names]:
            await self._health.set(service, value)

    async def drain(self, grace: float = 10.0) -> None:
        """NOT_SERVING at once; new calls are refused after `settle`; running ones get `grace`."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settle)
        await self._server.stop(grace)

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._server.wait_for_termination()


class DataServer:
    """A threaded gRPC server for bulk data; one thread serves one stream.

    Of a stream of requests the first is parsed, for it names what the others are for; those come as
    bytes, to be read where they lie.

    Args:
        door: who may come in, and with what.
        name: of the service, full.
        register: adds the service to the server.
        streams: how many streams run at once.
    """

    def __init__(self, door: Door, name: str, register: Register, *, streams: int = 8) -> None:
        door.cover([name])
        self._server = grpc.server(
            ThreadPoolExecutor(streams, thread_name_prefix="data"),
            options=SERVER_OPTIONS,
            interceptors=[_DataInterceptor(door)],
        )
        register(self._server)
        self.port = 0

    def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on host:port (0: any free one); returns the port."""
        self.port = _bound(self._server, host, port)
        self._server.start()
        return self.port

    def stop(self, grace: float = 5.0) -> None:
        """Refuse new streams and give the running ones `grace` seconds."""
        self._server.stop(grace).wait()


class _DataInterceptor(grpc.ServerInterceptor):
    """The door for threads."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        try:
            caller = self._door.admit(method, handler_call_details.invocation_metadata)
        except errors.TesseraError as error:
            return _refusal(error)
        if handler.request_streaming:
            call = self._push(handler, method, caller)
            return grpc.stream_unary_rpc_method_handler(call, None, handler.response_serializer)
        call = self._pull(handler, method, caller)
        return grpc.unary_stream_rpc_method_handler(call, None, handler.response_serializer)

    def _push(self, handler: Any, method: str, caller: Principal) -> Any:
        def call(sent: Any, context: Any) -> Any:
            try:
                first = self._door.read(
                    method, caller, next(sent, b""), handler.request_deserializer
                )
                return handler.stream_unary(chain([first], sent), context)
            except Exception as error:  # noqa: BLE001 - the table decides, for every kind
                raise _abort(context, error) from None

        return call

    def _pull(self, handler: Any, method: str, caller: Principal) -> Any:
        def call(raw: bytes, context: Any) -> Any:
            try:
                request = self._door.read(method, caller, raw, handler.request_deserializer)
                yield from handler.unary_stream(request, context)
            except Exception as error:  # noqa: BLE001 - the table decides, for every kind
                raise _abort(context, error) from None

        return call


def _refusal(error: errors.TesseraError) -> Any:
    """A handler that ends the call; as a stream, so that no message of it is waited for."""

    def refuse(_: Any, context: Any) -> Any:
        raise _abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _abort(context: Any, error: Exception) -> Exception:
    """End the call with the status of `error`; returns what grpc raises for it."""
    if isinstance(error, grpc.RpcError):
        return error
    if not isinstance(error, errors.TesseraError):
        log.error("internal error", exc_info=error)
        error = errors.InternalError("internal error; the server's log has the details")
    try:
        context.abort_with_status(to_status(error))
    except Exception as aborted:  # noqa: BLE001 - abort raises a bare Exception by design
        return aborted
    return error


def _bound(server: Any, host: str, port: int) -> int:
    try:
        bound = server.add_insecure_port(join(host, port))
    except RuntimeError:
        bound = 0
    if not bound:
        raise errors.UnavailableError(
            f"cannot listen on {join(host, port)}: the address is in use or not this machine's",
            reason="ADDRESS_IN_USE",
        )
    return int(bound)
