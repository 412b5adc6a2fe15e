"""Servers as they are, that also say what they serve and how each call of theirs ended."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from typing import Any

import grpc
from grpc.aio import AbortError

from tessera.rpc import server

CODES = {code.value[0]: code for code in grpc.StatusCode}


def code_name(code: Any) -> str:
    """OK, or what a status is called."""
    if code is None:
        return "OK"
    return code.name if isinstance(code, grpc.StatusCode) else CODES[int(code)].name


class Tally:
    """How calls ended, by method and status, and how many reached their handler."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()
        self.reached: Counter[str] = Counter()
        self.defects: list[str] = []

    def end(self, method: str, code: str) -> None:
        self.ended[method, code] += 1

    def defect(self, method: str, error: BaseException) -> None:
        """Something that no handler should let out: gRPC makes UNKNOWN of it."""
        self.end(method, "UNKNOWN")
        self.defects.append(f"{method}: {''.join(traceback.format_exception(error))}")


TALLY = Tally()


class Recorder(grpc.aio.ServerInterceptor):
    """Stands around another interceptor, and sees how it ends each call."""

    def __init__(self, inner: grpc.aio.ServerInterceptor) -> None:
        self._inner = inner
        self._counted: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        method = details.method

        async def reached(given: Any) -> Any:
            handler = await continuation(given)
            return None if handler is None else self._once(handler, method)

        handler = await self._inner.intercept_service(reached, details)
        if handler is None:
            TALLY.end(method, "UNIMPLEMENTED")
            return None
        if handler.stream_unary is not None:
            return handler._replace(stream_unary=_watched(handler.stream_unary, method))
        if iscoroutinefunction(handler.stream_stream):
            return handler._replace(stream_stream=_watched(handler.stream_stream, method))
        return handler._replace(stream_stream=_watched_stream(handler.stream_stream, method))

    def _once(self, handler: Any, method: str) -> Any:
        """A method's handler that is counted: made for its first call, the same for all others."""
        known = self._counted.get(method)
        if known is None or known[0] is not handler:
            known = self._counted[method] = (handler, _counted(handler, method))
        return known[1]


@asynccontextmanager
async def _ended(method: str, context: Any) -> AsyncIterator[None]:
    try:
        yield
    except AbortError:
        TALLY.end(method, code_name(context.code()))
        raise
    except (GeneratorExit, grpc.aio.UsageError, grpc.aio.InternalError):
        # Nobody is there any more to be told; gRPC lets it go.
        TALLY.end(method, "CANCELLED")
        raise
    except Exception as error:
        TALLY.defect(method, error)
        raise
    except BaseException:
        TALLY.end(method, "CANCELLED")
        raise
    else:
        TALLY.end(method, code_name(context.code() or None))


def _watched(behaviour: Any, method: str) -> Any:
    async def answer(sent: Any, context: Any) -> Any:
        async with _ended(method, context):
            return await behaviour(sent, context)

    return answer


def _watched_stream(behaviour: Any, method: str) -> Any:
    async def answer(sent: Any, context: Any) -> AsyncIterator[Any]:
        async with _ended(method, context):
            async for response in behaviour(sent, context):
                yield response

    return answer


_SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _counted(handler: Any, method: str) -> Any:
    """The handler, which says when it is reached."""
    (shape,) = (name for name in _SHAPES if getattr(handler, name) is not None)
    behaviour = getattr(handler, shape)

    if iscoroutinefunction(behaviour):

        async def called(request: Any, context: Any) -> Any:
            TALLY.reached[method] += 1
            return await behaviour(request, context)
    else:

        def called(request: Any, context: Any) -> Any:
            TALLY.reached[method] += 1
            return behaviour(request, context)

    return handler._replace(**{shape: called})


class DataRecorder(grpc.ServerInterceptor):
    """The same for threads."""

    def __init__(self, inner: grpc.ServerInterceptor) -> None:
        self._inner = inner

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        method = details.method

        def reached(given: Any) -> Any:
            handler = continuation(given)
            return None if handler is None else _counted(handler, method)

        handler = self._inner.intercept_service(reached, details)
        if handler is None:
            TALLY.end(method, "UNIMPLEMENTED")
            return None
        if handler.stream_unary is not None:
            push = handler.stream_unary

            def one(sent: Any, context: Any) -> Any:
                with _ended_in_thread(method, context):
                    return push(sent, context)

            return handler._replace(stream_unary=one)
        pull = handler.stream_stream

        def many(sent: Any, context: Any) -> Iterator[Any]:
            # The door's refusals are functions, that return nothing to go through.
            with _ended_in_thread(method, context):
                yield from pull(sent, context) or ()

        return handler._replace(stream_stream=many)


@contextmanager
def _ended_in_thread(method: str, context: Any) -> Iterator[None]:
    try:
        yield
    except GeneratorExit:
        TALLY.end(method, "CANCELLED")
        raise
    except Exception as error:
        code = context.code()
        if code is not None:
            TALLY.end(method, code_name(code))
        elif isinstance(error, grpc.RpcError):  # What iterating over requests raises at the end.
            TALLY.end(method, "CANCELLED")
        else:
            TALLY.defect(method, error)
        raise
    else:
        TALLY.end(method, "OK")


class Recorded:
    """A server that remembers its handlers."""

    def __init__(self, server: Any, interceptor: Any) -> None:
        self._server = server
        self.interceptor = interceptor
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        for each in handlers:
            self.handlers.update(each._method_handlers)
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers.update({f"/{service}/{name}": each for name, each in handlers.items()})
        self._server.add_registered_method_handlers(service, handlers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    @property
    def __class__(self) -> type:  # Reflection asks which kind of server it is added to.
        return type(self._server)


SERVERS: list[Recorded] = []


def _recording(make: Callable[..., Any], around: Callable[[Any], Any]) -> Callable[..., Any]:
    def recorded(*arguments: Any, interceptors: Any = (), **options: Any) -> Any:
        if not interceptors:
            return make(*arguments, **options)
        (inner,) = interceptors
        outer = around(inner)
        made = Recorded(make(*arguments, interceptors=[outer], **options), outer)
        SERVERS.append(made)
        return made

    return recorded


def record_servers() -> None:
    """From now on servers that are made in this process are recorded."""
    server.aio_server = _recording(server.aio_server, Recorder)
    grpc.server = _recording(grpc.server, DataRecorder)
