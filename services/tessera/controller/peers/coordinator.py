"""What the controller asks of the parameter coordinator: which versions exist, and how wide."""

from __future__ import annotations

import grpc

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import coordinator_pb2_grpc as pb_grpc
from tessera.controller.policy.registry import EndpointRole, Registry
from tessera.models.registry import load_config
from tessera.rpc.channel import aio_channel, bearer, peer_errors
from tessera.rpc.deadline import remaining
from tessera.rpc.tls.names import coordinator_name
from tessera.rpc.token import Token, tls_of
from tessera.spec.reference import parse_reference
from tessera.weights import manifest_parts

SECONDS = 10.0
_PAGE = 500
_UNAVAILABLE = "COORDINATOR_UNAVAILABLE"


class CoordinatorClient:
    """Asks the coordinator that is registered now.

    Args:
        registry: knows where it listens.
        token: of the controller.
    """

    def __init__(self, registry: Registry, token: Token) -> None:
        self._registry = registry
        self._token = token

    async def check(self, tenant: str, model: str, field: str) -> None:
        """Raise unless `set` or `set@version` has a committed version.

        Args:
            tenant: whose set it is.
            model: the reference.
            field: path of the field that holds it, for the error.

        Raises:
            InvalidArgumentError: that is no reference, or another tenant's (INVALID_REFERENCE).
            NotFoundError: SET_NOT_FOUND or VERSION_NOT_FOUND.
            UnavailableError: the coordinator cannot be asked (COORDINATOR_UNAVAILABLE).
        """
        reference = parse_reference(model, field)
        name, version = reference.set_of(tenant, field), reference.version
        numbers = await self._versions(f"{tenant}/{name}", name, field, version)
        if version and version not in numbers:
            raise _missing(
                "VERSION_NOT_FOUND",
                f"{field}: set '{name}' has no version {version}; "
                f"`tessera versions {name}` lists them",
                field,
            )
        if not numbers:
            raise _missing(
                "VERSION_NOT_FOUND", f"{field}: set '{name}' has no committed version yet", field
            )

    async def width(self, tenant: str, model: str, field: str) -> int:
        """Width of the model that a version holds; 0: the version does not say.

        Args:
            tenant: whose set it is.
            model: a reference that `check` has let pass.
            field: as for `check`.

        Raises:
            UnavailableError: the coordinator cannot be asked (COORDINATOR_UNAVAILABLE).
        """
        reference = parse_reference(model, field)
        request = pb.GetManifestRequest(
            set=reference.full_name(tenant), version=reference.version, groups=["model"]
        )
        async with self._channel() as connection:
            stub = pb_grpc.CoordinatorServiceStub(connection)
            with peer_errors("the parameter coordinator", _UNAVAILABLE):
                replies = stub.GetManifest(
                    request, metadata=bearer(self._token), timeout=remaining(SECONDS)
                )
                whole = manifest_parts.join([reply.manifest async for reply in replies])
        for asset in whole.assets:
            if asset.name == "config.json":
                return load_config(asset.content).width
        return 0

    async def _versions(self, full: str, name: str, field: str, wanted: int) -> set[int]:
        found: set[int] = set()
        async with self._channel() as connection:
            stub = pb_grpc.CoordinatorServiceStub(connection)
            request = pb.ListVersionsRequest(set=full, page_size=_PAGE)
            while True:
                try:
                    with peer_errors("the parameter coordinator", _UNAVAILABLE):
                        reply = await stub.ListVersions(
                            request, metadata=bearer(self._token), timeout=remaining(SECONDS)
                        )
                except errors.NotFoundError:
                    raise _missing(
                        "SET_NOT_FOUND",
                        f"{field}: there is no set '{name}'; `tessera sets` lists them",
                        field,
                    ) from None
                found.update(version.number for version in reply.versions)
                request.page_token = reply.next_page_token
                if wanted in found or (found and not wanted) or not request.page_token:
                    return found

    def _channel(self) -> grpc.aio.Channel:
        return aio_channel(self._address(), tls_of(self._token), coordinator_name())

    def _address(self) -> str:
        endpoints = self._registry.resolve(EndpointRole.COORDINATOR)
        if not endpoints:
            raise errors.UnavailableError(
                "the parameter coordinator is not there yet; try again in a moment",
                reason=_UNAVAILABLE,
                retry_after=2.0,
            )
        return endpoints[0].control_address


def _missing(reason: str, message: str, field: str) -> errors.NotFoundError:
    return errors.NotFoundError(
        message, reason=reason, violations=[errors.Violation(field, message)]
    )
