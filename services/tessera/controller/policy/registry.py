"""Where every process of the platform listens: leases in memory. Pure.

Nothing of it is stored. Whoever is alive registers again within one heartbeat of a restart of the
controller, so a stored copy could only be older than the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice

from tessera import errors
from tessera.rpc.principal import Principal

LEASE = 10.0
"""Seconds that a registration lasts without a heartbeat."""

LABELS = 32
"""Labels of an endpoint, as the .proto says of those that are sent; what came first stays."""

FORGET = 3600.0
"""Seconds after which an endpoint that is not seen is forgotten."""


class EndpointRole(Enum):
    """What an endpoint does."""

    COORDINATOR = "COORDINATOR"
    SHARD = "SHARD"
    TRAINER = "TRAINER"
    REPLICA = "REPLICA"


SHARED = frozenset({EndpointRole.COORDINATOR, EndpointRole.SHARD})
"""Roles that serve every tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A process that can be called."""

    role: EndpointRole
    name: str
    tenant: str
    incarnation: str
    control_address: str
    data_address: str = ""
    build: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires: float = 0.0


Key = tuple[str, EndpointRole, str]


class Registry:
    """The endpoints and their leases.

    Args:
        build: of this controller; others must agree in major and minor version.
        clock: monotonic seconds.
    """

    def __init__(self, build: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._build = build
        self._clock = clock
        self._endpoints: dict[Key, Endpoint] = {}

    def register(self, caller: Principal, endpoint: Endpoint) -> float:
        """Announce an endpoint; a new incarnation replaces the old. Returns the lease in seconds.

        Raises:
            FailedPreconditionError: its build does not fit (BUILD_MISMATCH).
        """
        _check_build(self._build, endpoint.build)
        self._forget()
        key = self._key(caller, endpoint.role, endpoint.name)
        self._endpoints[key] = replace(endpoint, tenant=key[0], expires=self._clock() + LEASE)
        return LEASE

    def heartbeat(
        self,
        caller: Principal,
        role: EndpointRole,
        name: str,
        incarnation: str,
        labels: Mapping[str, str],
    ) -> bool:
        """Renew a lease and replace labels; returns whether a label changed.

        Raises:
            NotFoundError: no such incarnation is registered (ENDPOINT_NOT_FOUND).
        """
        key = self._key(caller, role, name)
        known = self._endpoints.get(key)
        if known is None or known.incarnation != incarnation:
            raise errors.NotFoundError(
                f"{role.value} '{name}' is not registered with this incarnation; register again",
                reason="ENDPOINT_NOT_FOUND",
            )
        merged = dict(islice({**known.labels, **labels}.items(), LABELS))
        self._endpoints[key] = replace(known, labels=merged, expires=self._clock() + LEASE)
        return merged != known.labels

    def deregister(
        self, caller: Principal, role: EndpointRole, name: str, incarnation: str
    ) -> None:
        """Withdraw an endpoint; a newer incarnation stays."""
        key = self._key(caller, role, name)
        known = self._endpoints.get(key)
        if known is not None and known.incarnation == incarnation:
            del self._endpoints[key]

    def resolve(
        self,
        role: EndpointRole,
        name: str = "",
        *,
        tenant: str | None = None,
        include_expired: bool = False,
    ) -> list[Endpoint]:
        """Endpoints of a role by name; `name` empty: all, ending in `/`: every name below it.

        Args:
            role: what they do.
            name: which of them.
            tenant: only what this tenant may see; None: all.
            include_expired: also those whose lease has run out.
        """
        found = [
            endpoint
            for (owner, its_role, _), endpoint in self._endpoints.items()
            if its_role is role
            and (tenant is None or role in SHARED or owner == tenant)
            and _matches(endpoint.name, name)
            and (include_expired or self.is_live(endpoint))
        ]
        return sorted(found, key=lambda endpoint: endpoint.name)

    def is_live(self, endpoint: Endpoint) -> bool:
        """Whether its lease is running; otherwise it is unseen, which is not dead."""
        return endpoint.expires > self._clock()

    def _key(self, caller: Principal, role: EndpointRole, name: str) -> Key:
        return ("" if role in SHARED else caller.tenant, role, name)

    def _forget(self) -> None:
        limit = self._clock() - FORGET
        for key in [k for k, e in self._endpoints.items() if e.expires < limit]:
            del self._endpoints[key]


def _matches(name: str, wanted: str) -> bool:
    if not wanted:
        return True
    return name.startswith(wanted) if wanted.endswith("/") else name == wanted


def _check_build(ours: str, theirs: str) -> None:
    if _series(ours) != _series(theirs):
        raise errors.FailedPreconditionError(
            f"build {theirs or '(none)'} does not work with the controller's {ours}; "
            "major and minor version must be equal",
            reason="BUILD_MISMATCH",
            metadata={"controller": ours, "endpoint": theirs},
        )


def _series(build: str) -> tuple[str, ...]:
    return tuple(build.split(".")[:2])
