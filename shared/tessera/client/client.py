"""The client: jobs, deployments, pools, parameter sets and generation in one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tessera import errors
from tessera.api.controller.v1 import pool_pb2
from tessera.api.controller.v1.pool_pb2_grpc import PoolServiceStub
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.blobs import Blobs
from tessera.client.connection import PATIENCE_SECONDS, Connection
from tessera.client.deployments import Deployments
from tessera.client.export import Exported, export
from tessera.client.generation import Replicas
from tessera.client.home import find
from tessera.client.jobs import Jobs
from tessera.client.names import full_name, parse_version
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import ParameterSet, Version

GENERATE_SECONDS = 600.0


class Client:
    """A connection to a platform; use it in a `with` statement, or close it.

    Jobs, deployments, pools and answers are the messages of the API (`tessera.api`); sets and
    versions are those of `tessera.weights`. What fails raises `tessera.errors`.

    Args:
        address: host:port of the controller; None: that of `home`.
        token: bearer token; None: that of `home`.
        home: folder of a platform on this machine; None: ~/.tessera.
        patience: seconds to wait for a controller that does not answer.

    Raises:
        FailedPreconditionError: NO_PLATFORM, where no address is given and no platform runs.
    """

    def __init__(
        self,
        address: str | None = None,
        token: str | None = None,
        home: str | Path | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._connection = Connection(find(address, token, home), patience=patience)
        self.address = self._connection.address
        self.blobs = Blobs(self._connection)
        self.jobs = Jobs(self._connection, self.blobs)
        self.deployments = Deployments(self._connection)
        self._replicas = Replicas(self._connection, self.deployments)
        self._pools: Any = PoolServiceStub(self._connection.channel)
        self._coordinator = Coordinator(
            self._connection.address, self._connection.token, patience=4 * patience
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._replicas.close()
        self._coordinator.close()
        self._connection.close()

    def pools(self) -> list[pool_pb2.Pool]:
        """The Ray clusters that work is placed on, with what is held of each."""
        request = pool_pb2.ListPoolsRequest()
        return list(self._connection.call(self._pools.ListPools, request).pools)

    def sets(self) -> list[ParameterSet]:
        """The parameter sets, by name."""
        self._reach()
        return self._coordinator.list_sets()

    def versions(self, name: str) -> list[Version]:
        """The committed versions of a set, newest first.

        Raises:
            NotFoundError: there is no such set.
        """
        self._reach()
        return self._coordinator.list_versions(full_name(name, self._connection.tenant))

    def export(self, reference: str, folder: str | Path, *, force: bool = False) -> Exported:
        """Write `set@version` (or the newest of `set`) as a folder that transformers loads.

        Raises:
            InvalidArgumentError: BAD_VERSION.
            AlreadyExistsError: the folder is not empty and `force` is not set.
            NotFoundError: there is no such set or version.
        """
        name, version = parse_version(reference, self._connection.tenant)
        self._reach()
        return export(
            self._coordinator, self._connection.token, name, version, Path(folder), force=force
        )

    def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        logprobs: bool = False,
        seconds: float = GENERATE_SECONDS,
    ) -> Iterator[pb.GenerateResponse]:
        """Continue a prompt (text or token ids); ending the iteration stops the work.

        The last part has a `finish_reason`; every part names the version that made it.

        Raises:
            NotFoundError: there is no such model.
            InvalidArgumentError: a parameter is out of bounds, or the prompt too long.
            UnavailableError: no replica serves, or it died in the middle of the answer.
        """
        try:
            sampling = pb.Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
            request = pb.GenerateRequest(
                model=model, max_tokens=max_tokens, sampling=sampling, stop=stop, logprobs=logprobs
            )
            if isinstance(prompt, str):
                request.text = prompt
            else:
                request.tokens.CopyFrom(pb.Tokens(ids=prompt))
        except ValueError as error:
            raise errors.InvalidArgumentError(str(error), reason="INVALID_FIELD") from None
        return self._replicas.generate(request, seconds=seconds)

    def model(self, name: str) -> pb.GetModelResponse:
        """What a deployed model is: family, set, version, context, parameters."""
        return self._replicas.describe(name)

    def _reach(self) -> None:
        """Fail at once, and clearly, where no controller answers: looking for others may wait."""
        self.pools()
