"""Calls within the process: through a server's own door and handlers, without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import namedtuple
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc.aio import AbortError

from .cases import PATHS, Case
from .recorder import TALLY, Recorded, code_name

HANG_SECONDS = 30.0
"""Beyond a case's deadline; no call takes so long."""
Details = namedtuple("Details", "method invocation_metadata")
READ_SECONDS = 0.02
"""For an answer of a stream that may never come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended.

    Args:
        code: of its status.
        details: of it, or what is wrong.
        answer: the first, as bytes; None: there was none.
        hung: whether it did not end.
    """

    code: str
    details: str = ""
    answer: bytes | None = None
    hung: bool = False

    @property
    def defect(self) -> bool:
        """Whether no server should end a call so."""
        return self.hung or self.code in {"INTERNAL", "UNKNOWN"}


class Context:
    """What a handler is told of its call."""

    def __init__(self, case: Case) -> None:
        self._end = time.monotonic() + case.seconds
        self._metadata = case.metadata
        self._code: Any = None
        self._details = ""
        self._callbacks: list[Any] = []
        self.written: list[Any] = []

    def time_remaining(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    def invocation_metadata(self) -> Any:
        return self._metadata

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def set_code(self, code: Any) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def add_done_callback(self, callback: Any) -> None:
        self._callbacks.append(callback)

    def add_callback(self, callback: Any) -> bool:
        self._callbacks.append(lambda _: callback())
        return True

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def is_active(self) -> bool:
        return True

    def finish(self) -> None:
        for callback in self._callbacks:
            callback(self)

    def keep(self, status: Any) -> None:
        self._code, self._details = status.code, status.details


class AioContext(Context):
    """For servers of asyncio."""

    async def abort_with_status(self, status: Any) -> None:
        self.keep(status)
        raise AbortError

    async def abort(self, code: Any, details: str = "", _: Any = ()) -> None:
        self._code, self._details = code, details
        raise AbortError

    async def write(self, message: Any) -> None:
        self.written.append(message)


class ThreadContext(Context):
    """For threads."""

    def abort_with_status(self, status: Any) -> None:
        self.keep(status)
        raise Exception  # noqa: TRY002 - what grpc raises is just that


class Direct:
    """Calls recorded servers.

    Args:
        servers: that were recorded, all of this process.
    """

    def __init__(self, servers: list[Recorded]) -> None:
        self._servers: dict[str, list[Recorded]] = {}
        for server in servers:
            for path in server.handlers:
                self._servers.setdefault(path, []).append(server)

    async def call(self, case: Case) -> Outcome:
        """Call, and wait for the end."""
        servers = self._servers[case.method]
        server = servers[case.server % len(servers)]
        details = Details(case.method, case.metadata)
        if isinstance(server.interceptor, grpc.aio.ServerInterceptor):
            work = self._aio(server, details, case)
        else:
            work = asyncio.to_thread(self._in_thread, server, details, case)
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait([task], timeout=case.seconds + HANG_SECONDS)
        if not done:
            stack = "".join(f"{frame}\n" for frame in task.get_stack())
            task.cancel()
            return Outcome(code="NONE", details=f"it did not end: {stack}", hung=True)
        return task.result()

    async def _aio(self, server: Recorded, details: Details, case: Case) -> Outcome:
        async def found(_: Any) -> Any:
            return server.handlers[case.method]

        context = AioContext(case)
        handler = await server.interceptor.intercept_service(found, details)
        driven: Awaitable[list[bytes]] = _drive(handler, case, context)
        if case.cut is not None:
            # The caller is gone: gRPC cancels what runs for it.
            driven = asyncio.create_task(driven)
            asyncio.get_running_loop().call_later(0 if case.cut < 2 else 0.002, driven.cancel)
        try:
            # gRPC ends a call at its deadline, and cancels it.
            async with asyncio.timeout(case.seconds + 0.01):
                answers = await driven
        except AbortError:
            return Outcome(code=code_name(context.code()), details=context.details())
        except TimeoutError:
            return Outcome(code="DEADLINE_EXCEEDED")
        except asyncio.CancelledError:
            return Outcome(code="CANCELLED")
        except grpc.aio.UsageError:
            return Outcome(code="CANCELLED")
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            return Outcome(code="UNKNOWN", details=f"{type(error).__name__}: {error}")
        finally:
            context.finish()
        return Outcome(code=code_name(context.code()), answer=answers[0] if answers else None)

    def _in_thread(self, server: Recorded, details: Details, case: Case) -> Outcome:
        handler = server.interceptor.intercept_service(
            lambda _: server.handlers[case.method], details
        )
        context = ThreadContext(case)
        try:
            answers = _drive_in_thread(handler, case, context)
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            if context.code() is not None:
                return Outcome(code=code_name(context.code()), details=context.details())
            if isinstance(error, grpc.RpcError):
                return Outcome(code="CANCELLED")
            return Outcome(code="UNKNOWN", details=f"{type(error).__name__}: {error}")
        finally:
            context.finish()
        return Outcome(code="OK", answer=answers[0] if answers else None)


async def _drive(handler: Any, case: Case, context: AioContext) -> list[bytes]:
    """The answers, encoded as gRPC would."""
    encode = handler.response_serializer or bytes
    if handler.stream_unary is not None:
        return [encode(await handler.stream_unary(_sent(case), context))]
    if iscoroutinefunction(handler.stream_stream):
        await handler.stream_stream(_sent(case), context)
        return [encode(message) for message in context.written]
    answers: list[bytes] = []
    stream = handler.stream_stream(_sent(case), context)
    async with contextlib.aclosing(stream):
        while case.reads is None or len(answers) < case.reads:
            try:
                answer = await anext(stream)
            except StopAsyncIteration:
                break
            answers.append(encode(answer))
    return answers


async def _sent(case: Case) -> AsyncIterator[bytes]:
    for index, raw in enumerate(case.messages):
        if case.cut == index:
            await asyncio.sleep(READ_SECONDS)
        yield raw


class _Cut(grpc.RpcError):
    """What iterating over requests raises once the caller is gone."""


def _drive_in_thread(handler: Any, case: Case, context: ThreadContext) -> list[bytes]:
    def sent() -> Iterator[bytes]:
        for index, raw in enumerate(case.messages):
            if case.cut == index:
                raise _Cut
            yield raw

    encode = handler.response_serializer or bytes
    if handler.stream_unary is not None:
        return [encode(handler.stream_unary(sent(), context))]
    stream = handler.stream_stream(sent(), context) or iter(())
    answers = []
    for answer in stream:
        answers.append(encode(answer))
        if case.reads is not None and len(answers) >= case.reads:
            stream.close()
            break
    return answers


def parsed(case: Case, outcome: Outcome) -> Message | None:
    """The first answer; None: there is none."""
    if outcome.answer is None or not case.requests:
        return None
    with contextlib.suppress(DecodeError):
        return GetMessageClass(PATHS[case.method].output_type).FromString(outcome.answer)
    return None


async def smallest(direct: Direct, case: Case, seconds: float = 5.0) -> Case:
    """The same case with less in it that still ends badly."""
    end = time.monotonic() + seconds
    if not case.requests:
        return case
    shrunk = True
    while shrunk and time.monotonic() < end:
        shrunk = False
        for index, request in enumerate(case.requests):
            for smaller in _without(request):
                requests = (*case.requests[:index], smaller, *case.requests[index + 1 :])
                messages = tuple(message.SerializeToString() for message in requests)
                tried = replace(case, requests=requests, messages=messages)
                if time.monotonic() < end and (await direct.call(tried)).defect:
                    case, shrunk = tried, True
                    break
            if shrunk:
                break
    return case


def _without(message: Message) -> Iterator[Message]:
    """The message without one of its fields, or with less in one of them."""
    for field, value in message.ListFields():
        less = type(message)()
        less.CopyFrom(message)
        less.ClearField(field.name)
        yield less
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.message_type is None or is_map:
            continue
        if field.is_repeated:
            for index in range(len(value)):
                less = type(message)()
                less.CopyFrom(message)
                del getattr(less, field.name)[index]
                yield less
            continue
        for inner in _without(value):
            less = type(message)()
            less.CopyFrom(message)
            getattr(less, field.name).CopyFrom(inner)
            yield less


__all__ = ["TALLY", "Direct", "Outcome", "parsed", "smallest"]
