"""Channels that outlive their certificate: gRPC binds one to a channel for good.

When the identity is another one, calls from then on go over a new channel below. Those that run on
the one of before go on; it is kept until the identity changes once more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import grpc

from tessera.rpc.tls.identity import Tls, TlsIdentity


class _Renewing:
    """Makes the channel of now.

    Args:
        tls: whose identity it is.
        make: a channel with an identity.
    """

    def __init__(self, tls: Tls, make: Callable[[TlsIdentity], Any]) -> None:
        self._tls = tls
        self._make = make
        self._lock = threading.Lock()
        self._identity = tls.identity
        self._now, self._before = make(self._identity), None

    @property
    def now(self) -> Any:
        """The channel with the identity of now."""
        identity = self._tls.identity
        if identity is not self._identity:
            with self._lock:
                if identity is not self._identity:
                    self._before, self._now = self._now, self._make(identity)
                    self._identity = identity
        return self._now

    @property
    def open(self) -> list[Any]:
        """Every channel that is kept."""
        return [each for each in (self._now, self._before) if each is not None]


class _Callable:
    """One method: called, or asked for its `future`, on the channel of now."""

    def __init__(self, channels: _Renewing, kind: str, how: tuple[Any, ...], more: Any) -> None:
        self._channels = channels
        self._kind, self._how, self._more = kind, how, more
        self._made: tuple[Any, Any] = (None, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callable(), name)

    def _callable(self) -> Any:
        now = self._channels.now
        of, made = self._made
        if of is not now:
            made = getattr(now, self._kind)(*self._how, **self._more)
            self._made = (now, made)
        return made


class _Methods:
    """What both kinds of channels share."""

    def __init__(self, tls: Tls, make: Callable[[TlsIdentity], Any]) -> None:
        self._channels = _Renewing(tls, make)

    def unary_unary(self, *how: Any, **more: Any) -> Any:
        """As gRPC has it; so are those that follow."""
        return _Callable(self._channels, "unary_unary", how, more)

    def unary_stream(self, *how: Any, **more: Any) -> Any:
        """One request, a stream of answers."""
        return _Callable(self._channels, "unary_stream", how, more)

    def stream_unary(self, *how: Any, **more: Any) -> Any:
        """A stream of requests, one answer."""
        return _Callable(self._channels, "stream_unary", how, more)

    def stream_stream(self, *how: Any, **more: Any) -> Any:
        """A stream of requests, a stream of answers."""
        return _Callable(self._channels, "stream_stream", how, more)


class RenewedChannel(_Methods, grpc.Channel):
    """A synchronous channel; see the module."""

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """Of the channel of now."""
        self._channels.now.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """Of every channel."""
        for each in self._channels.open:
            each.unsubscribe(callback)

    def close(self) -> None:
        """Close it; calls that run end."""
        for each in self._channels.open:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *how: object) -> None:
        self.close()


class AioRenewedChannel(_Methods, grpc.aio.Channel):
    """A channel of asyncio; see the module."""

    async def close(self, grace: float | None = None) -> None:
        """Close it; calls that run end."""
        for each in self._channels.open:
            await each.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel of now."""
        state: grpc.ChannelConnectivity = self._channels.now.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel of now."""
        await self._channels.now.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the channel of now."""
        await self._channels.now.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *how: object) -> None:
        await self.close()
