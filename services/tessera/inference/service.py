"""The gRPC services of a replica: protobuf in, domain out, and back."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.inference import prompt
from tessera.inference.engine.answer import Output
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.generation import Generation
from tessera.inference.engine.sequence import FinishReason, Request, Sampling
from tessera.inference.meter import Meter
from tessera.inference.state import ReplicaState
from tessera.inference.weights import digest
from tessera.weights.box import Box

DEFAULT_MAX_TOKENS = 128
_FINISH = {
    None: pb.FINISH_REASON_UNSPECIFIED,
    FinishReason.END: pb.FINISH_REASON_END,
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}


class InferenceService(pb_grpc.InferenceServiceServicer):
    """Answers requests.

    Args:
        state: of the replica.
        meter: counts.
    """

    def __init__(self, state: ReplicaState, meter: Meter) -> None:
        self._state = state
        self._meter = meter

    async def Generate(
        self, request: pb.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Stream an answer."""
        begin = time.monotonic()
        outcome, written = "cancelled", 0
        try:
            engine = self._state.engine_for(request.model)
            generation = await _submit(engine, request, context.time_remaining())
            # A call may be cancelled while nothing here is awaited.
            context.add_done_callback(lambda _: generation.cancel())  # type: ignore[arg-type]
            async for part in generation:
                if not written:
                    self._meter.first_token(time.monotonic() - begin)
                written += len(part.tokens)
                if part.finish is not None:
                    outcome = part.finish.value
                yield _to_response(part)
        except errors.TesseraError as error:
            outcome = error.reason.lower()
            raise
        finally:
            self._meter.request_ended(outcome)
            self._meter.tokens_written(written)

    async def GetModel(
        self, request: pb.GetModelRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetModelResponse:
        """Describe what is served."""
        engine = self._state.engine_for(request.model)
        model = engine.active
        return pb.GetModelResponse(
            model=self._state.served.deployment,
            family=model.config.family,
            set=model.set,
            version=model.version,
            context=engine.context(model),
            parameters=model.config.parameters,
        )


class ReplicaService(pb_grpc.ReplicaServiceServicer):
    """Steers the replica.

    Args:
        state: of the replica.
    """

    def __init__(self, state: ReplicaState) -> None:
        self._state = state

    async def GetReplicaStatus(
        self, _request: pb.GetReplicaStatusRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetReplicaStatusResponse:
        """Tell state and load."""
        engine = self._state.engine
        status = None if engine is None else engine.status()
        return pb.GetReplicaStatusResponse(
            state=pb.ReplicaState.Value(f"REPLICA_STATE_{self._state.phase.name}"),
            version=status.version if status else 0,
            running=status.running if status else 0,
            waiting=status.waiting if status else 0,
            free_blocks=status.free_blocks if status else 0,
            total_blocks=status.total_blocks if status else 0,
            message=self._state.message,
        )

    async def GetDigests(
        self, request: pb.GetDigestsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetDigestsResponse:
        """Hash the weights that are active now, as they lie in memory."""
        model = self._state.ready_engine().active
        parameters = dict(model.module.named_parameters())
        boxes = list(request.boxes) or [
            pb.DigestQuery(tensor=name, offsets=[0] * p.dim(), extents=list(p.shape))
            for name, p in parameters.items()
        ]
        checked = [_box(parameters, index, query) for index, query in enumerate(boxes)]

        def hashes() -> list[int]:
            return [
                digest(parameters[query.tensor], box)
                for query, box in zip(boxes, checked, strict=True)
            ]

        found = await asyncio.to_thread(hashes)
        return pb.GetDigestsResponse(
            version=model.version,
            digests=[
                pb.Digest(box=query, checksum=value)
                for query, value in zip(boxes, found, strict=True)
            ],
        )

    async def Drain(
        self, _request: pb.DrainRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DrainResponse:
        """Refuse what is new; return when what runs has ended."""
        await self._state.drain()
        return pb.DrainResponse()


async def _submit(engine: Engine, request: pb.GenerateRequest, seconds: float | None) -> Generation:
    """Encode for the active version and submit to it; again if it is replaced in between."""
    while True:
        model = engine.active
        text = request.text if request.WhichOneof("input") == "text" else list(request.tokens.ids)
        ids = await prompt.encode(model, text, engine.context(model))
        if request.stop and model.tokenizer is None:
            raise errors.InvalidArgumentError(
                "stop: this model has no tokenizer, so it writes no text",
                reason="NO_TOKENIZER",
                violations=[errors.Violation("stop", "needs a tokenizer")],
            )
        try:
            return engine.submit(_to_request(request, ids, seconds), model)
        except errors.AbortedError:
            continue


def _to_request(
    request: pb.GenerateRequest, ids: tuple[int, ...], seconds: float | None
) -> Request:
    wanted = request.sampling
    return Request(
        prompt=ids,
        max_tokens=request.max_tokens if request.HasField("max_tokens") else DEFAULT_MAX_TOKENS,
        sampling=Sampling(
            temperature=wanted.temperature if wanted.HasField("temperature") else 1.0,
            top_k=wanted.top_k,
            top_p=wanted.top_p if wanted.HasField("top_p") else 1.0,
            seed=wanted.seed if wanted.HasField("seed") else secrets.randbits(63),
        ),
        stop=tuple(request.stop),
        logprobs=request.logprobs,
        deadline=None if seconds is None else time.monotonic() + seconds,
    )


def _to_response(part: Output) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        text=part.text,
        tokens=part.tokens,
        logprobs=part.logprobs,
        finish_reason=_FINISH[part.finish],
        version=part.version,
        prompt_tokens=part.prompt_tokens if part.finish is not None else 0,
    )


def _box(parameters: dict[str, Any], index: int, query: pb.DigestQuery) -> Box:
    if query.tensor not in parameters:
        raise errors.InvalidArgumentError.at(
            f"boxes[{index}].tensor", f"there is no tensor `{query.tensor}`", "TENSOR_NOT_FOUND"
        )
    shape = tuple(parameters[query.tensor].shape)
    try:
        box = Box(tuple(query.offsets), tuple(query.extents))
    except ValueError as error:
        raise errors.InvalidArgumentError.at(f"boxes[{index}]", str(error), "INVALID_BOX") from None
    if not Box.whole(shape).contains(box):
        raise errors.InvalidArgumentError.at(
            f"boxes[{index}]", f"it is outside of the shape {shape}", "INVALID_BOX"
        )
    return box
