"""Servers over TLS, of threads and of asyncio, and identities of one authority."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.server import Server, bind
from tessera.rpc.tls import certificates
from tessera.rpc.tls.authority import Authority
from tessera.rpc.tls.identity import Listener, Tls, TlsIdentity

SECONDS = 10.0


def authority(name: str = "ours") -> Authority:
    return Authority(*certificates.new_authority(name, days=1))


def bearing(identity: TlsIdentity) -> Tls:
    """How a process with this identity reaches others; it believes its own authority."""
    return Tls(identity.roots, lambda: identity)


def ask(address: str, tls: Tls | None, name: str = "") -> None:
    """One call that asks for no token.

    Raises:
        TesseraError: it failed.
    """
    with channel(address, tls, name) as connection, mapped_errors():
        check(connection)


def check(connection: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(connection)
    stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)


@contextmanager
def of_threads(listener: Listener | None, port: int = 0) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = bind(server, "127.0.0.1", port, listener)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@contextmanager
def of_asyncio(listener: Listener | None) -> Iterator[str]:
    """On a loop of its own, so that a test may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Server:
        verifier = Verifier([Issuer(Issuer.generate_key()).public_key()])
        made = Server(Door(verifier), [], listener=listener)
        await made.start()
        return made

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
    yield f"127.0.0.1:{server.port}"
    asyncio.run_coroutine_threadsafe(server.drain(0), loop).result(SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


KINDS: dict[str, Callable[[Listener | None], contextmanager[Iterator[str]]]] = {
    "threads": of_threads,
    "asyncio": of_asyncio,
}
