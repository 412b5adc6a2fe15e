"""Where endpoints listen, asked of the controller, and trying again until patience runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.rpc.channel import DEFAULT_SECONDS, bearer, channel, mapped_errors
from tessera.rpc.limits import refused_at_door
from tessera.rpc.retry import Retry
from tessera.rpc.token import Token, tls_of

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long a client waits for a service that is restarting."""

_BUSY = 10
"""Times as long it waits for a place: of many ranks that push, each has its turn."""

_FIRST_PAUSE = 0.05

_ABSENT = (errors.UnavailableError, errors.CancelledError, errors.UnimplementedError)
"""What is raised where a server is not there, or not there any more."""


def find(controller: str, token: Token, role: pb.Role.ValueType, name: str) -> pb.Endpoint:
    """The live endpoint of that role and name.

    Raises:
        UnavailableError: none is registered (reason ENDPOINT_UNKNOWN).
    """
    with channel(controller, tls_of(token)) as connection, mapped_errors():
        reply = pb_grpc.RegistryServiceStub(connection).Resolve(
            pb.ResolveRequest(role=role, name=name),
            metadata=bearer(token),
            timeout=DEFAULT_SECONDS,
            wait_for_ready=True,
        )
    for endpoint in reply.endpoints:
        if endpoint.name == name:
            return endpoint
    raise errors.UnavailableError(
        f"no live {pb.Role.Name(role).removeprefix('ROLE_').lower()} named {name!r} is known to"
        f" the controller; is it starting?",
        reason="ENDPOINT_UNKNOWN",
        retry_after=1.0,
    )


def with_patience(action: Callable[[bool], T], seconds: float) -> T:
    """Call `action(again)` until it does not fail for want of a server, or `seconds` are over.

    `again` is False the first time: what was cached may be used. Only UNAVAILABLE, and CANCELLED by
    a server that stops, are tried again; and for longer, a server that has no place now. An address
    may have become another server's, which has no such method, or knows no such token.
    """
    retry, again = Retry(seconds, first=_FIRST_PAUSE), False
    queued = Retry(_BUSY * seconds, first=_FIRST_PAUSE)
    while True:
        try:
            return action(again)
        except errors.UnauthenticatedError:
            if again:
                raise
        except _ABSENT as error:
            if not retry.again():
                raise
            log.debug("trying again", reason=error.reason, message=error.message)
        except errors.ResourceExhaustedError as error:
            if not (refused_at_door(error) and queued.again()):
                raise
        again = True
