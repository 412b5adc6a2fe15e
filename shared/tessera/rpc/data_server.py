"""The threaded server for bulk data; one thread serves one stream, one more reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import grpc
import structlog

from tessera import errors
from tessera.rpc.channel import DATA_WINDOW, server_options
from tessera.rpc.door import Door, methods_of
from tessera.rpc.limits import LIMITS, CallLimiter, CallLimits, check_size
from tessera.rpc.policy.cost import MessageLimits
from tessera.rpc.principal import Principal
from tessera.rpc.request_reader import read_requests
from tessera.rpc.server import bind
from tessera.rpc.stalls import Stalls
from tessera.rpc.status import to_status
from tessera.rpc.tls.identity import Listener

log = structlog.get_logger()


class DataServer:
    """A threaded gRPC server for bulk data.

    Of a stream of requests the first is parsed, for it names what the others are for; those come as
    bytes, to be read where they lie.

    Args:
        door: who may come in, and with what.
        name: of the service, full.
        register: adds the service to the server.
        limits: of its callers; `streams` in the place of `calls`.
        listener: how it is reached, encrypted; None: in clear.
    """

    def __init__(
        self,
        door: Door,
        name: str,
        register: Callable[[Any], None],
        *,
        limits: CallLimits = LIMITS,
        listener: Listener | None = None,
    ) -> None:
        door.cover([name])
        streams = limits.streams
        self._listener = listener
        self._readers = ThreadPoolExecutor(2 * streams, thread_name_prefix="requests")
        receive = limits.messages.largest(methods_of([name]))
        limiter = CallLimiter(replace(limits, calls=streams), receive)
        self._stalls = Stalls(limits.idle_seconds)
        self._server = grpc.server(
            # As many more for those who are told that there is no place.
            ThreadPoolExecutor(streams + streams // 4 + 1, thread_name_prefix="data"),
            options=server_options(receive, DATA_WINDOW),
            interceptors=[_Interceptor(door, limiter, self._readers, self._stalls)],
        )
        register(self._server)
        self.port = 0

    def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on host:port (0: any free one); returns the port."""
        self.port = bind(self._server, host, port, self._listener)
        self._server.start()
        return self.port

    def stop(self, grace: float = 5.0) -> None:
        """Refuse new streams and give the running ones `grace` seconds."""
        self._server.stop(grace).wait()
        self._readers.shutdown(wait=False)
        self._stalls.stop()


class _Interceptor(grpc.ServerInterceptor):
    """The door for threads."""

    def __init__(
        self, door: Door, limiter: CallLimiter, readers: ThreadPoolExecutor, stalls: Stalls
    ) -> None:
        self._door = door
        self._limiter = limiter
        self._readers = readers
        self._stalls = stalls

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        try:
            caller = self._door.identify(method, handler_call_details.invocation_metadata)
            self._door.admit(method, caller)
        except errors.TesseraError as error:
            return _refusal(error)
        if handler.request_streaming:
            call = self._push(handler, method, caller)
            return grpc.stream_unary_rpc_method_handler(call, None, handler.response_serializer)
        call = self._pull(handler, method, caller)
        # As a stream also where one request comes: gRPC would wait for it without end.
        return grpc.stream_stream_rpc_method_handler(call, None, handler.response_serializer)

    def _push(self, handler: Any, method: str, caller: Principal) -> Any:
        def call(sent: Any, context: Any) -> Any:
            try:
                with self._entered(method, caller, context, sent) as (first, rest):
                    request = self._door.read(method, caller, first, handler.request_deserializer)
                    return handler.stream_unary(chain([request], rest), context)
            except Exception as error:  # noqa: BLE001 - the table decides, for every kind
                raise _abort(context, error) from None

        return call

    def _pull(self, handler: Any, method: str, caller: Principal) -> Any:
        def call(sent: Any, context: Any) -> Any:
            try:
                with self._entered(method, caller, context, sent) as (first, _):
                    request = self._door.read(method, caller, first, handler.request_deserializer)
                    yield from self._stalls.watch(_answers(handler, request, context), context)
            except Exception as error:  # noqa: BLE001 - the table decides, for every kind
                raise _abort(context, error) from None

        return call

    @contextmanager
    def _entered(
        self, method: str, caller: Principal, context: Any, sent: Iterator[bytes]
    ) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """A call that has its place: its first message, and an iterator over the others."""
        limits = self._limiter.limits
        with (
            self._limiter.under_way(method, caller, context.peer),
            read_requests(
                self._readers, sent, limits.patience(caller), limits.idle_seconds
            ) as requests,
        ):
            first = next(requests, None)
            if first is None:
                raise errors.InvalidArgumentError("no request came", reason="MALFORMED_MESSAGE")
            sized = partial(_sized, limits.messages, method)
            yield sized(first), map(sized, requests)


def _answers(handler: Any, request: Any, context: Any) -> Iterable[Any]:
    if handler.response_streaming:
        answers: Iterable[Any] = handler.unary_stream(request, context)
        return answers
    return [handler.unary_unary(request, context)]


def _sized(limits: MessageLimits, method: str, raw: bytes) -> bytes:
    check_size(limits, method, raw)
    return raw


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
