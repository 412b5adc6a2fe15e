"""How a server of asyncio takes each call: door, log, errors, deadline, request.

A call without a right to be here is ended before its body is received. All four shapes of RPC share
one wrapper. Handlers that stream must be async generators.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc.aio import AbortError

from tessera import errors
from tessera.rpc import deadline
from tessera.rpc.door import Door
from tessera.rpc.principal import Principal, set_principal
from tessera.rpc.status import code_of, to_status

log = structlog.get_logger()

UNARY_SECONDS = 60.0
"""What a unary call without a deadline gets."""

_PLUMBING = ("/grpc.health.v1.", "/grpc.reflection.")


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that has been let in."""

    method: str
    caller: Principal
    context: Any
    streams: bool
    """Whether its requests are a stream; then only the call as a whole has limits in time."""


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Around every call but health and reflection.

    Args:
        door: of the server.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_PLUMBING):
            return handler
        try:
            caller = self._door.admit(method, handler_call_details.invocation_metadata)
        except errors.TesseraError as error:
            return _refusal(method, error)
        if handler.response_streaming:
            return self._streaming(handler, method, caller)
        return self._single(handler, method, caller)

    def _single(self, handler: Any, method: str, caller: Principal) -> Any:
        streams = handler.request_streaming
        behaviour = handler.stream_unary if streams else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )

        async def answer(sent: Any, context: Any) -> Any:
            call = Call(method=method, caller=caller, context=context, streams=streams)
            async with _around(call):
                return await behaviour(self._read(handler, call, sent), context)

        return make(answer, None, handler.response_serializer)

    def _streaming(self, handler: Any, method: str, caller: Principal) -> Any:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )

        async def answer(sent: Any, context: Any) -> AsyncIterator[Any]:
            call = Call(method=method, caller=caller, context=context, streams=True)
            async with _around(call):
                async for response in behaviour(self._read(handler, call, sent), context):
                    yield response

        return make(answer, None, handler.response_serializer)

    def _read(self, handler: Any, call: Call, sent: Any) -> Any:
        """The request, or an iterator over the requests."""
        parse = handler.request_deserializer
        if not handler.request_streaming:
            return self._door.read(call.method, call.caller, sent, parse)

        async def each() -> AsyncIterator[Any]:
            async for raw in sent:
                yield self._door.read(call.method, call.caller, raw, parse)

        return each()


def _refusal(method: str, error: errors.TesseraError) -> Any:
    """A handler that ends the call; as a stream, so that no message of it is waited for."""

    async def refuse(_: Any, context: Any) -> AsyncIterator[Any]:
        log.info("rpc", method=method, code=code_of(error).name, reason=error.reason)
        await context.abort_with_status(to_status(error))
        yield  # pragma: no cover - what makes it a generator

    return grpc.stream_stream_rpc_method_handler(refuse)


@asynccontextmanager
async def _around(call: Call) -> AsyncIterator[None]:
    set_principal(call.caller)
    async with _logged(call), _errors_mapped(call), _timed(call):
        yield


@asynccontextmanager
async def _logged(call: Call) -> AsyncIterator[None]:
    """One canonical event for each RPC."""
    structlog.contextvars.bind_contextvars(method=call.method)
    start, code = time.monotonic(), "OK"
    try:
        yield
    except AbortError:
        code = getattr(call.context.code(), "name", str(call.context.code()))
        raise
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    finally:
        level = log.debug if code == "OK" else log.info
        level("rpc", code=code, ms=round((time.monotonic() - start) * 1000, 2))
        structlog.contextvars.unbind_contextvars("method")


@asynccontextmanager
async def _errors_mapped(call: Call) -> AsyncIterator[None]:
    """Tessera's errors become statuses; anything else is logged and becomes a bland INTERNAL."""
    try:
        yield
    except errors.TesseraError as error:
        if code_of(error) is grpc.StatusCode.INTERNAL:
            # One with a reason of its own is foreseen: where it came up says nothing.
            foreseen = error.reason != errors.InternalError.reason
            level = log.error if foreseen else log.exception
            level("internal error", reason=error.reason, metadata=error.metadata)
        await call.context.abort_with_status(to_status(error))
    except (AbortError, grpc.aio.UsageError):
        raise
    except TimeoutError:
        late = errors.DeadlineExceededError("the call took longer than its deadline")
        await call.context.abort_with_status(to_status(late))
    except Exception:
        log.exception("internal error")
        bland = errors.InternalError("internal error; the server's log has the details")
        await call.context.abort_with_status(to_status(bland))


@asynccontextmanager
async def _timed(call: Call) -> AsyncIterator[None]:
    """Keep the caller's deadline; a unary call without one gets `UNARY_SECONDS`."""
    seconds = call.context.time_remaining()
    if seconds is None and not call.streams:
        seconds = UNARY_SECONDS
    deadline.set_deadline(seconds)
    async with asyncio.timeout(seconds):
        yield
