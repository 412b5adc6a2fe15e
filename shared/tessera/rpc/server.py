"""The asyncio server for control and streams; bulk data has one of threads, `data_server`.

Neither touches signals: inside a Ray actor the loop is not on the main thread. Only `__main__`
modules own signals, and whoever owns the server calls `drain`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as aio_health
from grpc_reflection.v1alpha import reflection

from tessera import errors
from tessera.rpc.address import join
from tessera.rpc.aio_server import aio_server
from tessera.rpc.channel import server_options
from tessera.rpc.door import Door, methods_of
from tessera.rpc.interceptors import ServerInterceptor
from tessera.rpc.limits import LIMITS, CallLimiter, CallLimits
from tessera.rpc.pace import Pace
from tessera.rpc.receiving import Receiving
from tessera.rpc.tls.identity import Listener, TlsIdentity

log = structlog.get_logger()

Register = Callable[[Any], None]


class Server:
    """An asyncio gRPC server with health, reflection and Tessera's interceptors.

    Make and start it inside a running loop.

    Args:
        door: who may come in, and with what.
        services: full names of the services and the functions that add each to a server.
        limits: of its callers.
        settle: seconds between turning NOT_SERVING and refusing calls.
        listener: how it is reached, encrypted; None: in clear.
    """

    def __init__(
        self,
        door: Door,
        services: Sequence[tuple[str, Register]],
        *,
        limits: CallLimits = LIMITS,
        settle: float = 0.0,
        listener: Listener | None = None,
    ) -> None:
        self._settle = settle
        self._listener = listener
        self._names = [name for name, _ in services]
        door.cover(self._names)
        self._health = aio_health.HealthServicer()
        receive = limits.messages.largest(methods_of(self._names))
        self._server = aio_server(
            options=server_options(receive),
            interceptors=[
                ServerInterceptor(door, CallLimiter(limits, receive), Receiving(receive), Pace())
            ],
        )
        for _, register in services:
            register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [*self._names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on host:port (0: any free one) and report SERVING; returns the port."""
        self.port = bind(self._server, host, port, self._listener)
        await self._server.start()
        await self.set_serving(serving=True)
        return self.port

    async def set_serving(self, *, serving: bool, name: str | None = None) -> None:
        """Set the health of one service, or of all and the server as a whole."""
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if serving else status.NOT_SERVING
        for service in [name] if name is not None else ["", *self._names]:
            await self._health.set(service, value)

    async def drain(self, grace: float = 10.0) -> None:
        """NOT_SERVING at once; new calls are refused after `settle`; running ones get `grace`."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settle)
        await self._server.stop(grace)

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._server.wait_for_termination()


def _says_no_metadata(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding")


def bind(server: Any, host: str, port: int, listener: Listener | None = None) -> int:
    """Make a gRPC server listen on host:port (0: any free one); returns the port.

    Args:
        server: of asyncio or of threads.
        host: address.
        port: its number.
        listener: how it is reached, encrypted; None: in clear.

    Raises:
        UnavailableError: it cannot (ADDRESS_IN_USE).
    """
    # Metadata that are no UTF-8 are logged by gRPC whole, with a traceback: tokens among them.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_says_no_metadata)
    try:
        if listener is None:
            bound = server.add_insecure_port(join(host, port))
        else:
            bound = server.add_secure_port(join(host, port), _credentials(listener))
    except RuntimeError:
        bound = 0
    if not bound:
        raise errors.UnavailableError(
            f"cannot listen on {join(host, port)}: the address is in use or not this machine's",
            reason="ADDRESS_IN_USE",
        )
    return int(bound)


def _credentials(listener: Listener) -> grpc.ServerCredentials:
    """Credentials that are those of now at every handshake."""
    shown = listener.identity()

    def configuration(identity: TlsIdentity) -> grpc.ServerCertificateConfiguration:
        pair = (identity.key, identity.chain)
        # Without authorities nobody is asked for a certificate.
        roots = identity.roots if listener.mutual else None
        return grpc.ssl_server_certificate_configuration([pair], roots)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        try:
            identity = listener.identity()
        except Exception as error:  # noqa: BLE001 - gRPC would hang up on the caller
            log.warning("the certificate of before stays", error=str(error))
            return None
        if identity is shown:
            return None
        shown = identity
        return configuration(identity)

    return grpc.dynamic_ssl_server_credentials(
        configuration(shown),
        fetch,  # type: ignore[arg-type]  # None is what its own documents say
        require_client_authentication=listener.mutual,
    )
