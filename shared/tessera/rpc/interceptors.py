"""How a server of asyncio takes each call: door, log, errors, deadline, request.

A call without a right to be here is ended before its body is received. All four shapes of RPC share
one wrapper. Handlers that stream must be async generators.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

import grpc
import structlog
from grpc.aio import AbortError

from tessera import errors
from tessera.rpc import deadline
from tessera.rpc.door import PLUMBING, Door
from tessera.rpc.limits import CallLimiter, check_size, idle
from tessera.rpc.pace import Pace
from tessera.rpc.principal import Principal, set_principal
from tessera.rpc.receiving import Receiving
from tessera.rpc.stalls import stalled
from tessera.rpc.status import code_of, to_status

log = structlog.get_logger()

UNARY_SECONDS = 60.0
"""What a unary call without a deadline gets."""

_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

_Unheard = grpc.aio.InternalError
"""What gRPC raises where nothing can be told any more: the caller is gone, or its deadline came
while an answer was on its way to it. It would log that as a defect of the handler's."""


QUICK_BYTES = 1 << 17
"""Larger requests are parsed and checked beside the loop: one of many small parts takes seconds."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that has been let in."""

    method: str
    caller: Principal
    context: Any
    streams: bool
    """Whether its requests are a stream; then only the call as a whole has limits in time."""
    request: Any = None
    """Parsed; None: it was not read, or is a stream."""


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Around every call; health and reflection ask for no token, and have limits all the same.

    Whatever the shape of a call, its requests are taken as a stream: so they are waited for here,
    with a limit in time, and not in gRPC, where whoever sends nothing would never be seen.

    Args:
        door: of the server.
        limiter: of its callers.
        receiving: of their requests.
        pace: of their calls.
    """

    def __init__(self, door: Door, limiter: CallLimiter, receiving: Receiving, pace: Pace) -> None:
        self._door = door
        self._limiter = limiter
        self._receiving = receiving
        self._pace = pace

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        try:
            caller = self._door.identify(method, handler_call_details.invocation_metadata)
        except errors.TesseraError as error:
            return _refusal(method, error)
        try:
            self._door.admit(method, caller)
        except errors.TesseraError as error:
            await self._door.remember(method, caller, None, error.reason)
            return _refusal(method, error)
        shape = self._streaming if handler.response_streaming else self._single
        return shape(handler, method, caller)

    def _single(self, handler: Any, method: str, caller: Principal) -> Any:
        behaviour = handler.stream_unary or handler.unary_unary

        async def answer(sent: Any, context: Any) -> Any:
            call = self._call(handler, method, caller, context)
            async with self._around(call):

                async def work() -> Any:
                    return await behaviour(await self._read(handler, call, sent), context)

                with self._limiter.under_way(method, caller, context.peer):
                    return await self._pace.call(caller, work)

        return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)

    def _streaming(self, handler: Any, method: str, caller: Principal) -> Any:
        behaviour = handler.stream_stream or handler.unary_stream

        async def answer(sent: Any, context: Any) -> None:
            call = self._call(handler, method, caller, context)
            async with self._around(call):

                async def work() -> None:
                    request = await self._read(handler, call, sent)
                    await self._hand_out(behaviour(request, context), context)

                with self._limiter.under_way(method, caller, context.peer):
                    await self._pace.call(caller, work)

        async def write(sent: Any, context: Any) -> None:
            call = self._call(handler, method, caller, context)
            async with self._around(call):
                with self._limiter.under_way(method, caller, context.peer):
                    await behaviour(await self._read(handler, call, sent), context)

        if iscoroutinefunction(behaviour):  # gRPC's own services write, and yield nothing.
            return grpc.stream_stream_rpc_method_handler(write, None, handler.response_serializer)
        return grpc.stream_stream_rpc_method_handler(answer, None, handler.response_serializer)

    async def _hand_out(self, responses: AsyncGenerator[Any], context: Any) -> None:
        """Write what a handler yields; who takes nothing is not waited for.

        Whoever leaves messages where they are has its status only behind them, and until it takes
        it, or its connection ends, the call is still under way; but nothing waits behind it.
        """
        seconds = self._limiter.limits.idle_seconds
        async with aclosing(responses):
            async for response in responses:
                if not await _written(context, response, seconds):
                    break
            else:
                return
        late = errors.DeadlineExceededError(stalled(seconds), reason="IDLE_STREAM")
        await context.abort_with_status(to_status(late))

    @asynccontextmanager
    async def _around(self, call: Call) -> AsyncIterator[None]:
        set_principal(call.caller)
        async with _logged(call), _errors_mapped(call), self._remembered(call), _timed(call):
            yield

    @asynccontextmanager
    async def _remembered(self, call: Call) -> AsyncIterator[None]:
        """Who changed what is kept before anybody hears how it went."""
        outcome = "OK"
        try:
            yield
        except errors.TesseraError as error:
            outcome = error.reason
            raise
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            await self._door.remember(call.method, call.caller, call.request, outcome)

    def _call(self, handler: Any, method: str, caller: Principal, context: Any) -> Call:
        streams = handler.request_streaming or handler.response_streaming
        return Call(method=method, caller=caller, context=context, streams=streams)

    async def _read(self, handler: Any, call: Call, sent: Any) -> Any:
        """The request, or an iterator over the requests; who sends nothing is not waited for."""
        parse, limits = handler.request_deserializer, self._limiter.limits
        async with self._receiving.request(call.caller):
            raw = await _next(sent, limits.patience(call.caller))
            self._receiving.count(call.caller, len(raw or b""))
            if not handler.request_streaming:
                if raw is None:
                    raise errors.InvalidArgumentError("no request came", reason="MALFORMED_MESSAGE")
                check_size(limits.messages, call.method, raw)
                arguments = call.method, call.caller, raw, parse
                if len(raw) > QUICK_BYTES:
                    call.request = await asyncio.to_thread(self._door.read, *arguments)
                else:
                    call.request = self._door.read(*arguments)
                return call.request

        async def each(raw: bytes | None) -> AsyncIterator[Any]:
            while raw is not None:
                check_size(limits.messages, call.method, raw)
                request = self._door.read(call.method, call.caller, raw, parse)
                raw = None
                yield request
                async with self._receiving.message(call.caller):
                    raw = await _next(sent, limits.idle_seconds)

        return each(raw)


async def _next(sent: Any, seconds: float) -> bytes | None:
    """The next message as it came, None: there is none any more.

    Raises:
        DeadlineExceededError: it is not there in time (IDLE_STREAM).
    """
    waiting = asyncio.timeout(seconds)
    try:
        async with waiting:
            raw: bytes | None = await anext(sent, None)
            return raw
    except TimeoutError:
        if waiting.expired():
            raise idle(seconds) from None
        raise


async def _written(context: Any, response: Any, seconds: float) -> bool:
    """Write a message; False: nobody takes it."""
    waiting = asyncio.timeout(seconds)
    try:
        async with waiting:
            await context.write(response)
    except TimeoutError:
        if waiting.expired():
            return False
        raise
    return True


def _refusal(method: str, error: errors.TesseraError) -> Any:
    """A handler that ends the call; as a stream, so that no message of it is waited for."""

    async def refuse(_: Any, context: Any) -> AsyncIterator[Any]:
        log.info("rpc", method=method, code=code_of(error).name, reason=error.reason)
        await _abort(context, error)
        yield  # pragma: no cover - what makes it a generator

    return grpc.stream_stream_rpc_method_handler(refuse)


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
        if code != "OK" or not call.method.startswith(PLUMBING):
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
        await _end(call, error, error)
    except (AbortError, grpc.aio.UsageError):
        raise
    except _Unheard:
        raise asyncio.CancelledError from None
    except TimeoutError as error:
        late = errors.DeadlineExceededError("the call took longer than its deadline")
        await _end(call, late, error)
    except Exception as error:
        if isinstance(error, NotImplementedError) and call.context.code() is _UNIMPLEMENTED:
            # What generated code does where a service, such as gRPC's health, lacks a method.
            method = call.method.rpartition("/")[2]
            await _end(call, errors.UnimplementedError(f"there is no {method} here"), error)
        log.exception("internal error")
        bland = errors.InternalError("internal error; the server's log has the details")
        await _end(call, bland, error)


async def _end(call: Call, told: errors.TesseraError, error: BaseException) -> None:
    """End a call with an error, because of another or the same one.

    The error that ends it and the frames that it goes through hold one another until the collector
    comes, and these held the request: refused requests would pile up.
    """
    call.request = None
    traceback.clear_frames(error.__traceback__)
    await _abort(call.context, told)


async def _abort(context: Any, error: errors.TesseraError) -> None:
    try:
        await context.abort_with_status(to_status(error))
    except (_Unheard, grpc.aio.UsageError):  # The latter where the handler was ending it by itself.
        raise asyncio.CancelledError from None


@asynccontextmanager
async def _timed(call: Call) -> AsyncIterator[None]:
    """Keep the caller's deadline; a unary call without one gets `UNARY_SECONDS`."""
    seconds = call.context.time_remaining()
    if seconds is None and not call.streams:
        seconds = UNARY_SECONDS
    deadline.set_deadline(seconds)
    async with asyncio.timeout(seconds):
        yield
