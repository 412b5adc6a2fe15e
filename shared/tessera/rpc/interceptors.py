"""Server interceptors for asyncio, outermost first: log, errors, authentication, deadline, check.

Each is an asynchronous context around one call, so all four shapes of RPC share one wrapper.
Handlers that stream must be async generators.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc.aio import AbortError

from tessera import errors, validation
from tessera.rpc import deadline, identity
from tessera.rpc.status import code_of, to_status

log = structlog.get_logger()

UNARY_SECONDS = 60.0
"""What a unary call without a deadline gets."""

_PLUMBING = ("/grpc.health.v1.", "/grpc.reflection.")


@dataclass(slots=True)
class Call:
    """One call as the interceptors see it; `request` is None where the client streams."""

    method: str
    context: Any
    request: Any
    streams: bool


Around = Callable[[Call], AbstractAsyncContextManager[None]]


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Puts contexts around every call but health and reflection."""

    def __init__(self, *arounds: Around) -> None:
        self._arounds = arounds

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
        if handler.response_streaming:
            return self._streaming(handler, method)
        return self._single(handler, method)

    def _single(self, handler: Any, method: str) -> Any:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )

        async def call(request: Any, context: Any) -> Any:
            visible = None if handler.request_streaming else request
            async with self._around(Call(method, context, visible, handler.request_streaming)):
                return await behaviour(request, context)

        return make(call, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, handler: Any, method: str) -> Any:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )

        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            visible = None if handler.request_streaming else request
            async with self._around(Call(method, context, visible, streams=True)):
                async for response in behaviour(request, context):
                    yield response

        return make(call, handler.request_deserializer, handler.response_serializer)

    @asynccontextmanager
    async def _around(self, call: Call) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for around in self._arounds:
                await stack.enter_async_context(around(call))
            yield


@asynccontextmanager
async def logged(call: Call) -> AsyncIterator[None]:
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
async def errors_mapped(call: Call) -> AsyncIterator[None]:
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


def authenticated(verifier: identity.Verifier, *, public: tuple[str, ...] = ()) -> Around:
    """Refuse calls without a valid token, but for methods that start with one of `public`."""

    @asynccontextmanager
    async def around(call: Call) -> AsyncIterator[None]:
        if call.method.startswith(public):
            identity.set_principal(identity.ANONYMOUS)
        else:
            identity.set_principal(verifier.authenticate(call.context.invocation_metadata()))
        yield

    return around


@asynccontextmanager
async def timed(call: Call) -> AsyncIterator[None]:
    """Keep the caller's deadline; a unary call without one gets `UNARY_SECONDS`."""
    seconds = call.context.time_remaining()
    if seconds is None and not call.streams:
        seconds = UNARY_SECONDS
    deadline.set_deadline(seconds)
    async with asyncio.timeout(seconds):
        yield


@asynccontextmanager
async def checked(call: Call) -> AsyncIterator[None]:
    """Refuse requests that break the limits in the .proto."""
    if call.request is not None:
        validation.check(call.request)
    yield
