"""InferenceService: answers requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.inference.engine import finite
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.stream_handle import StreamHandle
from tessera.inference.fair_pool import FairPool
from tessera.inference.metrics import CORRUPTED, FIRST_TOKEN, REQUESTS, TOKENS
from tessera.inference.services import from_wire, to_wire
from tessera.inference.state import ReplicaState
from tessera.inference.tasks import generate
from tessera.inference.tasks.methods import check_served, methods
from tessera.inference.tasks.task import Task, answering
from tessera.meter import Meter
from tessera.models.tasks import count_parameters, kind_of
from tessera.rpc.principal import current_principal

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
Context = grpc.aio.ServicerContext[Any, Any]

_QUICK_BYTES = 4096
"""Larger requests are encoded, and their answers made, off the event loop."""
_QUICK_RESULT_BYTES = 16384
"""Of more than that an answer is made off the event loop, however small the request was."""


class InferenceService(pb_grpc.InferenceServiceServicer):
    """Answers requests.

    Args:
        state: of the replica.
        meter: counts.
    """

    def __init__(self, state: ReplicaState, meter: Meter) -> None:
        self._state = state
        self._meter = meter
        self._pool = FairPool()

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Stream an answer."""
        begin, written = time.monotonic(), 0
        with self._metered("Generate") as outcome:
            engine = self._state.engine_for(request.model)
            generation = await self._submit(engine, request, context)
            # A call may be cancelled while nothing here is awaited.
            context.add_done_callback(lambda _: generation.cancel())  # type: ignore[arg-type]
            try:
                async for part in generation:
                    if not written:
                        self._meter.record(FIRST_TOKEN, time.monotonic() - begin)
                    written += len(part.tokens)
                    if part.finish is not None:
                        outcome.value = part.finish.value
                    yield to_wire.output(part)
            finally:
                self._meter.record(TOKENS, written)

    async def Translate(
        self, request: pb.TranslateRequest, context: Context
    ) -> pb.TranslateResponse:
        """Write what belongs to texts."""
        task = from_wire.translate(request, _deadline(context))
        reply = await self._whole(request, context, task, to_wire.translations)
        written = (len(h.tokens) for t in reply.translations for h in t.hypotheses)
        self._meter.record(TOKENS, sum(written))
        return reply

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """Tell the classes of texts."""
        task = from_wire.classify(request)
        return await self._whole(request, context, task, to_wire.classifications)

    async def FillMask(self, request: pb.FillMaskRequest, context: Context) -> pb.FillMaskResponse:
        """Tell what is hidden."""
        task = from_wire.fill_mask(request)
        return await self._whole(request, context, task, to_wire.filled)

    async def Answer(self, request: pb.AnswerRequest, context: Context) -> pb.AnswerResponse:
        """Find answers."""
        return await self._whole(request, context, from_wire.answer(request), to_wire.answers)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """Turn texts into vectors."""
        return await self._whole(request, context, from_wire.embed(request), to_wire.vectors)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Tell how likely texts are."""
        return await self._whole(request, context, from_wire.score(request), to_wire.scores)

    async def GetModel(self, request: pb.GetModelRequest, _context: Context) -> pb.GetModelResponse:
        """Describe what is served."""
        engine = self._state.engine_for(request.model)
        model = engine.active
        task = model.config.task
        return pb.GetModelResponse(
            model=self._state.served.deployment,
            family=model.config.family,
            set=model.set,
            version=model.version,
            context=engine.bounds.reading(model),
            parameters=count_parameters(model.config),
            task=task.kind,
            labels=task.labels,
            methods=methods(model.config),
            width=model.config.vector_width if "Embed" in kind_of(task).methods else 0,
            prompts=dict(task.prompts),
            default_prompt_name=task.default_prompt,
        )

    async def _whole(
        self,
        request: _Asked,
        context: Context,
        asked: Task[R, A],
        reply: Callable[[A, int], T],
    ) -> T:
        """Let a task run and answer at once."""
        with self._metered(asked.method) as outcome:
            engine = self._state.engine_for(request.model)
            size, client, deadline = request.ByteSize(), _client(), _deadline(context)
            while True:
                model = engine.active
                check_served(model.config, asked.method)
                task = answering(model.config, asked)
                works = await self._run(size, partial(task.prepare, model, engine.bounds))
                try:
                    collection = engine.collect(works, model, deadline, client)
                    break
                except errors.AbortedError:
                    continue  # The model was replaced in between.
            context.add_done_callback(lambda _: collection.cancel())  # type: ignore[arg-type]
            results = await collection.results()
            said = sum(getattr(result, "nbytes", 0) for result in results)
            # Of an answer that is made nothing waits.
            large = size > _QUICK_BYTES or said > _QUICK_RESULT_BYTES
            finish = partial(_finish, reply, task, results, model.version)
            answer = await self._pool.run(client, 0, finish) if large else finish()
            outcome.value = "done"
            return answer

    async def _submit(
        self, engine: Engine, request: pb.GenerateRequest, context: Context
    ) -> StreamHandle:
        """Encode for the active version and submit to it; again if it is replaced in between."""
        given, params = from_wire.generate(request, _deadline(context))
        while True:
            model = engine.active
            check_served(model.config, "Generate")
            prepare = partial(generate.prepare, model, engine.bounds, given, params)
            whole = await self._run(request.ByteSize(), prepare)
            try:
                return engine.submit(whole, model, _client())
            except errors.AbortedError:
                continue

    async def _run(self, size: int, work: Callable[[], T]) -> T:
        """Do what a request of this size asks for, off the event loop if that may take long."""
        return await self._pool.run(_client(), size, work) if size > _QUICK_BYTES else work()

    @contextmanager
    def _metered(self, method: str) -> Iterator[_Outcome]:
        """Count a request when it has ended, by what it sets or by its error."""
        outcome = _Outcome()
        try:
            yield outcome
        except errors.TesseraError as error:
            outcome.value = error.reason.lower()
            if error.reason == finite.REASON:
                self._meter.record(CORRUPTED, 1, method=method)
            raise
        finally:
            self._meter.record(REQUESTS, 1, method=method, outcome=outcome.value)


class _Asked(Protocol):
    """A message that asks one deployment for something."""

    model: str

    def ByteSize(self) -> int:
        """Of the message on the wire."""


@dataclass(slots=True)
class _Outcome:
    value: str = "cancelled"


def _finish(
    reply: Callable[[A, int], T], task: Task[R, A], results: Sequence[R], version: int
) -> T:
    return reply(task.finish(results), version)


def _client() -> str:
    """Whose turn a request is."""
    caller = current_principal()
    return f"{caller.tenant}/{caller.subject}"


def _deadline(context: Context) -> float | None:
    seconds = context.time_remaining()
    return None if seconds is None else time.monotonic() + seconds
