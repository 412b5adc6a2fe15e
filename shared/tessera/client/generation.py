"""Answers of deployed models, streamed from a replica."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, registry_pb2
from tessera.api.controller.v1.registry_pb2_grpc import RegistryServiceStub
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from tessera.client.connection import Connection
from tessera.client.deployments import Deployments, why
from tessera.rpc.channel import channel, mapped_errors

ACTIVE = "active"


class Replicas:
    """Finds a replica of each model through the controller and keeps the connection to it.

    Args:
        connection: to the controller.
        deployments: tells why a model has no replica.
        patience: seconds to wait for a replica that serves.
    """

    def __init__(
        self, connection: Connection, deployments: Deployments, *, patience: float = 20.0
    ) -> None:
        self._connection = connection
        self._deployments = deployments
        self._registry: Any = RegistryServiceStub(connection.channel)
        self._patience = patience
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}

    def generate(self, request: pb.GenerateRequest, *, seconds: float) -> Iterator[Any]:
        """The parts of an answer; a replica that is gone before the first is replaced.

        Raises:
            NotFoundError: there is no such model.
            UnavailableError: NO_REPLICA, or the replica died in the middle of the answer.
            TesseraError: whatever the replica says.
        """
        end = time.monotonic() + self._patience
        while True:
            begun = False
            try:
                for part in self._stream(request, seconds):
                    begun = True
                    yield part
            except errors.UnavailableError as error:
                self._forget(request.model)
                if begun or time.monotonic() > end or error.reason == "NO_REPLICA":
                    raise
            else:
                return
            time.sleep(0.2)

    def describe(self, model: str, *, seconds: float = 30.0) -> pb.GetModelResponse:
        """What a replica says that it serves."""
        stub: Any = InferenceServiceStub(self._channel(model))
        with mapped_errors():
            found: pb.GetModelResponse = stub.GetModel(
                pb.GetModelRequest(model=model),
                metadata=self._connection.metadata,
                timeout=seconds,
            )
        return found

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._channels.values():
                connection.close()
            self._channels.clear()

    def _stream(self, request: pb.GenerateRequest, seconds: float) -> Iterator[Any]:
        stub: Any = InferenceServiceStub(self._channel(request.model))
        with mapped_errors():
            call = stub.Generate(request, metadata=self._connection.metadata, timeout=seconds)
            try:
                yield from call
            finally:
                call.cancel()

    def _channel(self, model: str) -> grpc.Channel:
        with self._lock:
            if model in self._channels:
                return self._channels[model]
        address = self._find(model)
        with self._lock:
            return self._channels.setdefault(model, channel(address))

    def _forget(self, model: str) -> None:
        with self._lock:
            found = self._channels.pop(model, None)
        if found is not None:
            found.close()

    def _find(self, model: str) -> str:
        """Address of a replica that serves, waiting for one.

        Raises:
            NotFoundError: there is no such model.
            FailedPreconditionError: DEPLOYMENT_FAILED.
            UnavailableError: NO_REPLICA.
        """
        end = time.monotonic() + self._patience
        request = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_REPLICA, name=f"{model}/")
        while True:
            reply = self._connection.call(self._registry.Resolve, request)
            serving: list[str] = [
                e.control_address for e in reply.endpoints if e.labels["state"] == ACTIVE
            ]
            if serving:
                return random.choice(serving)  # noqa: S311 - any will do
            deployment = self._deployments.get(model)
            if deployment.state == deployment_pb2.DEPLOYMENT_STATE_FAILED:
                raise errors.FailedPreconditionError(
                    f"{model} cannot serve: {deployment.message}", reason="DEPLOYMENT_FAILED"
                )
            if time.monotonic() > end:
                raise errors.UnavailableError(
                    f"no replica of {model} serves: {why(deployment)}", reason="NO_REPLICA"
                )
            time.sleep(0.3)
