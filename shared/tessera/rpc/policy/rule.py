"""A row of the table: who may call an RPC, and what of its request must be the caller's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from tessera import errors
from tessera.rpc.principal import PLATFORM, Principal, Role

PEOPLE = frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN, Role.OPERATOR})
"""Roles of persons, and of programs that act for them."""


class Kind(Enum):
    """What a request names; the value is how the documents say it."""

    READ_SET = "a set that the caller may read"
    WRITE_SET = "a set that the caller may write"
    ATTEMPT = "the attempt that the caller is"
    ENDPOINT = "an endpoint that the caller is"
    TENANT = "a tenant: the caller's, or any for an operator"
    SERVER = "the server itself, which belongs to a tenant"
    SCOPED = "within the caller's tenant"


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a request names what must be the caller's.

    Args:
        kind: what is named.
        field: path of the field, dotted; empty: the request itself, or what is asked.
    """

    kind: Kind
    field: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call one RPC.

    Args:
        roles: of callers; with `ANONYMOUS` it needs no token.
        resources: what its request names.
    """

    roles: frozenset[Role]
    resources: tuple[Resource, ...] = ()

    @property
    def of_people(self) -> bool:
        """Whether people may call it, and not only workloads."""
        return bool(self.roles & PEOPLE) and not self.public

    @property
    def public(self) -> bool:
        """Whether it asks for no token."""
        return Role.ANONYMOUS in self.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a server is: a driver's is an attempt's, a replica's a deployment's."""

    tenant: str
    job: str = ""
    attempt: int = 0
    deployment: str = ""


def check_caller(
    rule: Rule | None, method: str, caller: Principal, owner: Owner | None = None
) -> None:
    """Raise unless the caller may call the method at all, here.

    Args:
        rule: the method's row; None: it has none, so that nobody may.
        method: `/package.Service/Method`.
        caller: who calls.
        owner: whose the server is; None: the platform's.

    Raises:
        PermissionDeniedError: its role may not (ROLE_DENIED), or the server is another's
            (OTHER_TENANT, OTHER_SERVER).
    """
    if rule is not None and (rule.public or caller.role in rule.roles):
        if any(resource.kind is Kind.SERVER for resource in rule.resources):
            _check_server(caller, owner)
        return
    people = [role.value for role in Role if rule and role in rule.roles and role in PEOPLE]
    remedy = f"; it takes the role {people[0]}" if people and caller.role in PEOPLE else ""
    raise errors.PermissionDeniedError(
        f"{caller} may not call {method.rpartition('.')[2]}{remedy}", reason="ROLE_DENIED"
    )


def check_resources(rule: Rule, caller: Principal, request: Message) -> None:
    """Raise unless all that the request names is the caller's.

    Args:
        rule: the method's row.
        caller: who calls; its role may.
        request: parsed.

    Raises:
        PermissionDeniedError: something is another's (OTHER_TENANT, OTHER_ATTEMPT, OTHER_SET,
            OTHER_ENDPOINT).
    """
    for resource in rule.resources:
        value = _value(request, resource.field)
        match resource.kind:
            case Kind.READ_SET:
                _check_set(caller, value, writes=False)
            case Kind.WRITE_SET:
                _check_set(caller, value, writes=True)
            case Kind.TENANT:
                _check_tenant(caller, value)
            case Kind.ATTEMPT:
                _check_attempt(caller, value.job, value.attempt)
            case Kind.ENDPOINT:
                _check_endpoint(caller, value)
            case Kind.SERVER | Kind.SCOPED:
                pass


def _value(request: Any, field: str) -> Any:
    value = request
    for part in field.split(".") if field else ():
        value = getattr(value, part)
    return value


def _check_set(caller: Principal, name: str, *, writes: bool) -> None:
    if caller.role in PLATFORM:
        return
    if name.partition("/")[0] != caller.tenant:
        raise errors.PermissionDeniedError(
            f"set {name!r} is not of tenant {caller.tenant!r}", reason="OTHER_TENANT"
        )
    if caller.role in PEOPLE or name == caller.writes or (not writes and name in caller.reads):
        return
    verb = "write" if writes else "read"
    raise errors.PermissionDeniedError(f"{caller} may not {verb} set {name!r}", reason="OTHER_SET")


def _check_tenant(caller: Principal, name: str) -> None:
    if name not in {"", caller.tenant} and caller.role is not Role.OPERATOR:
        raise errors.PermissionDeniedError(
            f"{caller} is of tenant {caller.tenant!r}, not of {name!r}", reason="OTHER_TENANT"
        )


def _check_attempt(caller: Principal, job: str, attempt: int) -> None:
    if caller.role is Role.ATTEMPT and (caller.job, caller.attempt) != (job, attempt):
        raise errors.PermissionDeniedError(
            f"the token is of {caller.job}, attempt {caller.attempt}, not of {job or '(none)'},"
            f" attempt {attempt}",
            reason="OTHER_ATTEMPT",
        )


def _check_endpoint(caller: Principal, value: Any) -> None:
    role = type(value).DESCRIPTOR.fields_by_name["role"].enum_type.values_by_number.get(value.role)
    announced = role.name if role else ""
    its = {
        Role.COORDINATOR: ("ROLE_COORDINATOR", value.name == "coordinator"),
        Role.SHARD: ("ROLE_SHARD", value.name == caller.subject),
        Role.ATTEMPT: ("ROLE_TRAINER", value.name == caller.job),
        Role.REPLICA: ("ROLE_REPLICA", value.name.startswith(f"{caller.deployment}/")),
    }
    expected, named = its[caller.role]
    if announced != expected or not named:
        raise errors.PermissionDeniedError(
            f"{caller} is not {announced.removeprefix('ROLE_') or 'an endpoint'} '{value.name}'",
            reason="OTHER_ENDPOINT",
        )


def _check_server(caller: Principal, owner: Owner | None) -> None:
    if owner is None:
        return
    if caller.tenant != owner.tenant:
        raise errors.PermissionDeniedError(
            f"this server is not of tenant {caller.tenant!r}", reason="OTHER_TENANT"
        )
    attempt = (caller.job, caller.attempt) == (owner.job, owner.attempt)
    same = {
        Role.ATTEMPT: attempt,
        # What it shows to a job's code is for that alone.
        Role.CONTROLLER: attempt,
        Role.REPLICA: caller.deployment == owner.deployment,
    }
    if not same.get(caller.role, True):
        raise errors.PermissionDeniedError(f"this server is not of {caller}", reason="OTHER_SERVER")
