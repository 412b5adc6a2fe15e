"""Client ends of connections: options, credentials and the mapping of failures.

Every channel of the platform is made here, and nowhere else. With `Tls` it is encrypted: the
controller must show the host that it is called at, everybody else the name that is expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from tessera import errors
from tessera.rpc import renewed_channel
from tessera.rpc.status import from_rpc_error
from tessera.rpc.tls.identity import Tls, TlsIdentity
from tessera.rpc.token import Token

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of the largest answer: a manifest of many tensors; bulk data goes in small chunks.

What a server takes is less: `tessera.rpc.policy.cost` says how much of which method.
"""

_COMMON: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A peer that vanished without a word is noticed within about half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

OPTIONS = [
    *_COMMON,
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Addresses come from the registry or are this machine's: no proxy leads to them.
    ("grpc.enable_http_proxy", 0),
]

STREAMS_OF_CONNECTION = 4096
"""More than one caller may have open: what is too much is refused by the door, and does not wait
unseen at the client."""

PENDING = 1_000_000
"""Calls that wait for the server to see them; gRPC ends others with a bare CANCELLED."""

WINDOW = 1 << 16
"""Bytes of a call that are taken before anybody has asked for them: what a caller who waits, or is
about to be refused, can make a server hold. gRPC's own grows without end while a caller sends fast.
"""

DATA_WINDOW = 1 << 20
"""The same of bulk streams, of which there are few."""

IDLE_SECONDS = 300
"""After which a connection without a call is closed; a client opens it again when it calls."""

HANDSHAKE_SECONDS = 10
"""For a new connection to say anything: HTTP/2's preface and settings."""

DATA_OPTIONS = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
"""For bulk streams: a connection of its own for each channel."""

_NAME = "grpc.ssl_target_name_override"

DEFAULT_SECONDS = 30.0
"""Deadline of a unary call whose caller has no better idea."""


def aio_channel(address: str, tls: Tls | None = None, name: str = "") -> grpc.aio.Channel:
    """An asyncio channel; made inside a running loop.

    Args:
        address: `host:port`.
        tls: how it is encrypted; None: not at all.
        name: that whoever listens there must prove to have; empty: it is the controller.
    """
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    if not name:
        return grpc.aio.secure_channel(address, _of_controller(tls), options=OPTIONS)

    def make(identity: TlsIdentity) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, _of_peer(identity), [*OPTIONS, (_NAME, name)])

    return renewed_channel.AioRenewedChannel(tls, make)


def channel(
    address: str,
    tls: Tls | None = None,
    name: str = "",
    *,
    options: Sequence[tuple[str, int | str]] = OPTIONS,
) -> grpc.Channel:
    """A synchronous channel; its arguments are those of `aio_channel`."""
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    if not name:
        return grpc.secure_channel(address, _of_controller(tls), options=options)

    def make(identity: TlsIdentity) -> grpc.Channel:
        return grpc.secure_channel(address, _of_peer(identity), [*options, (_NAME, name)])

    return renewed_channel.RenewedChannel(tls, make)


def data_channel(address: str, tls: Tls | None = None, name: str = "") -> grpc.Channel:
    """A synchronous channel of its own for bulk data."""
    return channel(address, tls, name, options=DATA_OPTIONS)


def _of_controller(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.controller_roots)


def _of_peer(identity: TlsIdentity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(identity.roots, identity.key, identity.chain)


def bearer(token: Token) -> tuple[tuple[str, str], ...]:
    """Metadata that carries a token, for a call that is made now."""
    shown = token if isinstance(token, str) else token.token
    return (("authorization", f"Bearer {shown}"),) if shown else ()


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Failed calls inside raise Tessera's errors, not grpc.RpcError."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


@contextmanager
def peer_errors(peer: str, reason: str) -> Iterator[None]:
    """As `mapped_errors`, around a call to another service that a server makes for its own caller.

    An answer that says nothing of what was asked, but only that who answers is not what it was
    taken for, or is broken, is no defect of this server, nor has the caller's token to do with it.

    Args:
        peer: what is called, for people.
        reason: of the error where it does not do what it should.

    Raises:
        UnavailableError: it does not.
    """
    try:
        with mapped_errors():
            yield
    except _STRANGE as error:
        raise errors.UnavailableError(
            f"{peer} does not answer as it should: {error.message}", reason=reason, retry_after=2.0
        ) from None


_STRANGE = (
    errors.InternalError,
    errors.UnimplementedError,
    errors.UnauthenticatedError,
    errors.PermissionDeniedError,
)


def server_options(receive: int, window: int = WINDOW) -> list[tuple[str, int | str]]:
    """Options of a server.

    Args:
        receive: bytes of the largest message that it takes.
        window: bytes of each call that are taken before they are asked for.
    """
    return [
        *_COMMON,
        ("grpc.max_receive_message_length", receive),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", window),
        ("grpc.max_concurrent_streams", STREAMS_OF_CONNECTION),
        ("grpc.server.max_pending_requests", PENDING),
        ("grpc.server.max_pending_requests_hard_limit", PENDING),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
    ]
