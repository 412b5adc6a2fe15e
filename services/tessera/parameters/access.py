"""Who may touch which set."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tessera import errors
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal


def check_tenant(principal: Principal, name: str) -> None:
    """Raise unless the set is the caller's tenant's; services of the platform may touch any.

    Raises:
        PermissionDeniedError: it is another tenant's (reason OTHER_TENANT).
    """
    tenant = name.partition("/")[0]
    if principal.role != SERVICE and tenant != principal.tenant:
        raise errors.PermissionDeniedError(
            f"set {name!r} is not of tenant {principal.tenant!r}", reason="OTHER_TENANT"
        )


def check_writer(principal: Principal, job: str, attempt: int) -> None:
    """Raise if an attempt claims to be another one.

    Raises:
        PermissionDeniedError: it does (reason OTHER_ATTEMPT).
    """
    if principal.role == ATTEMPT and (principal.job, principal.attempt) != (job, attempt):
        raise errors.PermissionDeniedError(
            f"the token is of {principal.job}, attempt {principal.attempt}, not of {job},"
            f" attempt {attempt}",
            reason="OTHER_ATTEMPT",
        )


def check_service(principal: Principal) -> None:
    """Raise unless the caller is a service of the platform.

    Raises:
        PermissionDeniedError: it is not (reason SERVICES_ONLY).
    """
    if principal.role != SERVICE:
        raise errors.PermissionDeniedError(
            "only the coordinator may call this", reason="SERVICES_ONLY"
        )


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the platform's state, not a defect."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise errors.ResourceExhaustedError(
                "the shard's disk is full; free some space or lower the disk cap",
                reason="DISK_FULL",
                retry_after=10.0,
            ) from None
        raise
