"""Who calls: a person or a workload, with what its token says of it. Pure."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a caller is, and so what it may do: `tessera.rpc.policy.table` says what."""

    ANONYMOUS = "anonymous"
    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"
    OPERATOR = "operator"
    ATTEMPT = "attempt"
    REPLICA = "replica"
    SHARD = "shard"
    COORDINATOR = "coordinator"
    CONTROLLER = "controller"


TENANT = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""What a tenant may be called."""

PLATFORM = frozenset({Role.CONTROLLER, Role.COORDINATOR, Role.SHARD})
"""Workloads that serve every tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller.

    Args:
        subject: its name: of a person, or `attempt:JOB/NUMBER`, `replica:TENANT/DEPLOYMENT`,
            `shard-0` …
        role: what it is.
        tenant: that it acts in; meaningless for `PLATFORM`, but for the controller with a `job`.
        job: of an attempt, or of the driver that the controller calls.
        attempt: its number within the job, from 1.
        deployment: of a replica, without the tenant.
        writes: the one set that an attempt may write, `tenant/set`.
        reads: the sets that an attempt or a replica may read, `tenant/set` each.
    """

    subject: str
    role: Role
    tenant: str = "default"
    job: str = ""
    attempt: int = 0
    deployment: str = ""
    writes: str = ""
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.role.value} '{self.subject}'"

    def claims(self) -> dict[str, Any]:
        """What a token says of it: JSON values, those that are empty left out."""
        told = {"sub": self.subject, "role": self.role.value, "tenant": self.tenant}
        rest = {
            "job": self.job,
            "attempt": self.attempt,
            "deployment": self.deployment,
            "writes": self.writes,
            "reads": list(self.reads),
        }
        return told | {name: value for name, value in rest.items() if value}

    @staticmethod
    def of(claims: Mapping[str, Any]) -> Principal:
        """The principal that `claims` tell of.

        Raises:
            ValueError: they tell of none: a claim is missing, unknown, or of another type.
        """
        wanted = {
            "sub": str,
            "role": str,
            "tenant": str,
            "job": str,
            "attempt": int,
            "deployment": str,
            "writes": str,
            "reads": list,
        }
        told = {name: claims[name] for name in wanted if name in claims}
        for name, value in told.items():
            if type(value) is not wanted[name]:
                raise ValueError(f"claim `{name}` is no {wanted[name].__name__}")
        if missing := {"sub", "role", "tenant"} - told.keys():
            raise ValueError(f"claim `{min(missing)}` is missing")
        reads = told.get("reads", [])
        if not all(isinstance(name, str) for name in reads):
            raise ValueError("claim `reads` lists names of sets")
        return Principal(
            subject=told["sub"],
            role=Role(told["role"]),
            tenant=told["tenant"],
            job=told.get("job", ""),
            attempt=told.get("attempt", 0),
            deployment=told.get("deployment", ""),
            writes=told.get("writes", ""),
            reads=tuple(reads),
        )


ANONYMOUS = Principal(subject="anonymous", role=Role.ANONYMOUS, tenant="")

_current: contextvars.ContextVar[Principal] = contextvars.ContextVar("principal", default=ANONYMOUS)


def current_principal() -> Principal:
    """The caller of the RPC that is being served."""
    return _current.get()


def set_principal(principal: Principal) -> contextvars.Token[Principal]:
    """Make `principal` the caller for the rest of this context."""
    return _current.set(principal)
