"""Replicas of deployed models: found through the controller, called, and replaced when they go."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, registry_pb2
from tessera.api.controller.v1.registry_pb2_grpc import RegistryServiceStub
from tessera.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from tessera.client.connection import Connection
from tessera.client.deployments import Deployments, why
from tessera.rpc.calls import Calls
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.tls.names import replica_name
from tessera.rpc.token import tls_of

ACTIVE = "active"
PAUSE_SECONDS = 0.2


class Replicas:
    """Finds a replica of each model and keeps the connection to it. Thread-safe.

    Args:
        connection: to the controller.
        deployments: tells why a model has no replica.
        patience: seconds to wait for a replica that serves, and for one that has room.
    """

    def __init__(
        self, connection: Connection, deployments: Deployments, *, patience: float = 20.0
    ) -> None:
        self._connection = connection
        self._deployments = deployments
        self._registry: Any = RegistryServiceStub(connection.channel)
        self._patience = patience
        self._lock = threading.Lock()
        self._addresses: dict[str, str] = {}
        self._channels: dict[tuple[str, str], grpc.Channel] = {}

    def call(self, method: str, request: Any, *, seconds: float) -> Any:
        """One answer; a replica that is gone before it came is replaced.

        Args:
            method: of InferenceService.
            request: names the model.
            seconds: for the answer.

        Raises:
            NotFoundError: there is no such model.
            UnavailableError: NO_REPLICA.
            TesseraError: whatever the replica says.
        """
        calls = Calls()

        def ask(stub: Any) -> Iterator[Any]:
            begin = partial(getattr(stub, method).future, request, **self._options(seconds))
            with calls.under_way(begin) as call:
                yield call.result()

        (answer,) = self._parts(request.model, ask, calls)
        return answer

    def stream(self, method: str, request: Any, *, seconds: float) -> Iterator[Any]:
        """The parts of an answer; a replica that is gone before the first is replaced.

        Raises as `call` does, and UnavailableError where it died in the middle of the answer.
        """
        calls = Calls()

        def ask(stub: Any) -> Iterator[Any]:
            begin = partial(getattr(stub, method), request, **self._options(seconds))
            with calls.under_way(begin) as call:
                yield from call

        return self._parts(request.model, ask, calls)

    def whole(self, method: str, request: Any, calls: Calls, *, seconds: float) -> list[Any]:
        """All parts of an answer; a replica that is gone before the last is replaced.

        Args:
            method: of InferenceService.
            request: names the model.
            calls: that the answer is given up with.
            seconds: for the answer.

        Raises as `call` does, and CancelledError where it is given up.
        """

        def ask(stub: Any) -> Iterator[Any]:
            begin = partial(getattr(stub, method), request, **self._options(seconds))
            with calls.under_way(begin) as call:
                yield list(call)

        (parts,) = self._parts(request.model, ask, calls)
        return parts  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._channels.values():
                connection.close()
            self._channels.clear()
            self._addresses.clear()

    def _options(self, seconds: float) -> dict[str, Any]:
        return {"metadata": self._connection.metadata, "timeout": seconds}

    def _parts(
        self, model: str, ask: Callable[[Any], Iterator[Any]], calls: Calls
    ) -> Iterator[Any]:
        """What `ask` gets of a replica; again, and of another one, while nothing has come."""
        end = 0.0
        while True:
            address, begun = self._address(model, calls), False
            try:
                with mapped_errors():
                    for part in ask(InferenceServiceStub(self._channel(model, address))):
                        begun = True
                        yield part
            except (errors.UnavailableError, errors.CancelledError):
                self._forget(model, address)
                # Patience begins when the replica is lost: the answer may have been long in coming.
                end = end or time.monotonic() + self._patience
                if begun or calls.ended or time.monotonic() > end:
                    raise
                calls.pause(PAUSE_SECONDS)
            except errors.ResourceExhaustedError as error:
                end = end or time.monotonic() + self._patience
                if begun or error.retry_after is None or time.monotonic() > end:
                    raise
                calls.pause(error.retry_after)
            else:
                return

    def _address(self, model: str, calls: Calls) -> str:
        with self._lock:
            if model in self._addresses:
                return self._addresses[model]
        address = self._find(model, calls)
        with self._lock:
            return self._addresses.setdefault(model, address)

    def _forget(self, model: str, address: str) -> None:
        """Look for another replica from now on; what still runs on the connection may end."""
        with self._lock:
            if self._addresses.get(model) == address:
                del self._addresses[model]

    def _channel(self, model: str, address: str) -> grpc.Channel:
        key = model, address
        with self._lock:
            if key not in self._channels:
                name = replica_name(self._connection.tenant, model)
                self._channels[key] = channel(address, tls_of(self._connection.token), name)
            return self._channels[key]

    def _find(self, model: str, calls: Calls) -> str:
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
            calls.pause(0.3)
