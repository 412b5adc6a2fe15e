"""How a process of the platform joins it: ticket for token, keys, and a lease kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from functools import cache, partial
from importlib import metadata

import grpc
import structlog

from tessera import errors, validation
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.background import Background, comes
from tessera.rpc.channel import DEFAULT_SECONDS, aio_channel, bearer, channel, mapped_errors
from tessera.rpc.credentials import Credentials, settle
from tessera.rpc.identity import Verifier
from tessera.rpc.tls import probe
from tessera.rpc.tls.identity import Tls
from tessera.rpc.token import Token, tls_of

log = structlog.get_logger()

TICKETS = "TESSERA_TICKETS"
"""Key in a Ray job's metadata of its one-time tickets, apart by spaces.

Not a variable of the job's runtime environment: those stand in the command lines of Ray's workers
while they start, for every account of the machine to read.
"""

ROOTS = "TESSERA_CA"
"""Key beside it of whom to believe to be the controller, PEM; nothing about it is secret."""

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Variable by which Ray hands a job's metadata to its driver, whose environment only its own
account reads.
"""

PATIENCE_SECONDS = 60.0
"""How long a starting process waits for a controller that is restarting."""


@cache
def build_version() -> str:
    """The build that endpoints announce; a controller refuses one that it cannot work with."""
    return metadata.version("tessera")


def handed_tickets(environ: Mapping[str, str]) -> str:
    """The tickets that a Ray job was started with, from the environment of its driver."""
    return _handed(environ, TICKETS)


def handed_roots(environ: Mapping[str, str]) -> bytes:
    """Whom a Ray job is to believe to be the controller, PEM; empty: it is called in clear."""
    return _handed(environ, ROOTS).encode()


def _handed(environ: Mapping[str, str], key: str) -> str:
    config = json.loads(environ.get(JOB_CONFIG) or "{}")
    return str((config.get("metadata") or {}).get(key, ""))


def exchange_tickets(controller: str, tickets: str, roots: bytes = b"") -> list[Credentials]:
    """What one-time tickets are worth, in their order.

    Args:
        controller: host:port.
        tickets: as `handed_tickets` has them.
        roots: as `handed_roots` has them.

    Raises:
        UnavailableError: whoever listens there is not the controller, for one of the reasons in
            `tessera.rpc.tls.failure`.
        UnauthenticatedError: a ticket is unknown, used or expired, or there is none.
    """
    if not tickets:
        raise errors.UnauthenticatedError(
            f"there is no ticket: only the controller starts this, as a Ray job with {TICKETS} in "
            "its metadata",
            reason="TICKET_MISSING",
        )
    if roots:
        # gRPC would try again until its deadline, and then not say why.
        probe.check(controller, roots)
    tls = Tls(roots) if roots else None
    with channel(controller, tls) as connection, mapped_errors():
        stub = pb_grpc.IdentityServiceStub(connection)
        requests = [pb.ExchangeTicketRequest(ticket=ticket) for ticket in tickets.split()]
        tokens = [
            stub.ExchangeTicket(each, timeout=PATIENCE_SECONDS, wait_for_ready=True).token
            for each in requests
        ]
    return [Credentials(controller, token, roots) for token in tokens]


def exchange_handed(controller: str, environ: Mapping[str, str]) -> list[Credentials]:
    """What the tickets are worth that a Ray job was started with; raises as `exchange_tickets`.

    Args:
        controller: host:port.
        environ: of the job's driver.
    """
    return exchange_tickets(controller, handed_tickets(environ), handed_roots(environ))


def fetch_verifier(controller: str, service: str = "", tls: Tls | None = None) -> Verifier:
    """A verifier with the controller's public keys.

    Args:
        controller: host:port.
        service: whose server asks; tokens for others only are refused.
        tls: how the controller is reached; None: in clear. Its identity is there afterwards: a loop
            would have to wait for it.
    """
    with channel(controller, tls) as connection, mapped_errors():
        stub = pb_grpc.IdentityServiceStub(connection)
        reply = stub.GetKeys(pb.GetKeysRequest(), timeout=PATIENCE_SECONDS, wait_for_ready=True)
    if tls is not None:
        _ = tls.identity
    return Verifier(list(reply.keys), service)


def endpoint(
    role: pb.Role.ValueType,
    name: str,
    address: str,
    *,
    data_address: str = "",
    labels: Mapping[str, str],
) -> pb.Endpoint:
    """This life of this process, as it is announced.

    Args:
        role: what it does.
        name: within the role.
        address: host:port of its control.
        data_address: host:port of its bulk data; empty if none.
        labels: beside `pid` and `host`.
    """
    return pb.Endpoint(
        role=role,
        name=name,
        incarnation=uuid.uuid4().hex,
        control_address=address,
        data_address=data_address,
        labels={"pid": str(os.getpid()), "host": socket.gethostname(), **labels},
    )


class Registration:
    """Keeps one endpoint known to the controller, across the controller's restarts.

    Args:
        controller: host:port of the controller.
        token: of this process.
        endpoint: what to announce; its build is filled in here.
        verifier: told with each heartbeat which keys and tokens are valid no more.
    """

    def __init__(
        self,
        controller: str,
        token: Token,
        endpoint: pb.Endpoint,
        verifier: Verifier | None = None,
    ) -> None:
        self._controller = controller
        self._verifier = verifier
        self._token = token
        self.endpoint = validation.fit(endpoint)
        self.endpoint.build = build_version()
        self._beating: Background | None = None
        self._channel: grpc.aio.Channel | None = None
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Register and keep the lease alive until `stop`."""
        self._channel = aio_channel(self._controller, tls_of(self._token))
        stub = pb_grpc.RegistryServiceStub(self._channel)
        await settle(self._token)
        lease = await self._register(stub)
        self._beating = Background("heartbeat", partial(self._beat, stub, lease))
        self._beating.start()

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Replace labels; they travel at once."""
        self.endpoint.labels.update(labels)
        validation.fit(self.endpoint)
        self._changed.set()

    async def stop(self) -> None:
        """Withdraw the endpoint."""
        if self._beating is None or self._channel is None:
            return
        await self._beating.stop()
        request = pb.DeregisterRequest(
            role=self.endpoint.role,
            name=self.endpoint.name,
            incarnation=self.endpoint.incarnation,
        )
        with contextlib.suppress(grpc.RpcError):
            stub = pb_grpc.RegistryServiceStub(self._channel)
            await stub.Deregister(request, metadata=bearer(self._token), timeout=2.0)
        await self._channel.close()

    async def _register(self, stub: pb_grpc.RegistryServiceAsyncStub) -> float:
        request = pb.RegisterRequest(endpoint=self.endpoint)
        with mapped_errors():
            reply = await stub.Register(
                request, metadata=bearer(self._token), timeout=PATIENCE_SECONDS, wait_for_ready=True
            )
        return float(reply.lease.ToNanoseconds() / 1e9)

    async def _beat(self, stub: pb_grpc.RegistryServiceAsyncStub, lease: float) -> None:
        await comes(self._changed, lease / 3)
        self._changed.clear()
        request = pb.HeartbeatRequest(
            role=self.endpoint.role,
            name=self.endpoint.name,
            incarnation=self.endpoint.incarnation,
            labels=self.endpoint.labels,
        )
        try:
            with mapped_errors():
                told = await stub.Heartbeat(
                    request, metadata=bearer(self._token), timeout=lease / 2
                )
            if self._verifier is not None:
                self._verifier.update(told.keys, told.revoked_tokens)
        except errors.NotFoundError:
            await self._again(stub)
        except errors.TesseraError as error:
            log.info("heartbeat failed", reason=error.reason, message=error.message)

    async def _again(self, stub: pb_grpc.RegistryServiceAsyncStub) -> None:
        try:
            await self._register(stub)
        except errors.TesseraError as error:
            log.warning("registration failed", reason=error.reason, message=error.message)


async def resolve(
    controller: str,
    token: Token,
    role: pb.Role.ValueType,
    name: str = "",
    *,
    seconds: float = DEFAULT_SECONDS,
) -> list[pb.Endpoint]:
    """The live endpoints of a role, asked of the controller now."""
    async with aio_channel(controller, tls_of(token)) as connection:
        stub = pb_grpc.RegistryServiceStub(connection)
        with mapped_errors():
            reply = await stub.Resolve(
                pb.ResolveRequest(role=role, name=name),
                metadata=bearer(token),
                timeout=seconds,
                wait_for_ready=True,
            )
        return list(reply.endpoints)
