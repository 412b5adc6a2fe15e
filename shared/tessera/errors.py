"""The one hierarchy of errors that Tessera raises.

Pure: `tessera.rpc.status` maps it to gRPC statuses and back, the command line to exit codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: `field` is its dotted path, `description` says how to mend it."""

    field: str
    description: str


class TesseraError(Exception):
    """Root of Tessera's errors.

    Args:
        message: one readable sentence.
        reason: stable, upper-case name of the cause; each class has a default.
        violations: the fields at fault.
        metadata: machine-readable facts.
        retry_after: seconds after which trying again makes sense.
    """

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @classmethod
    def at(
        cls, field: str, description: str, reason: str, metadata: Mapping[str, str] | None = None
    ) -> Self:
        """The error of one field: `description` says how to mend it."""
        return cls(
            f"{field}: {description}",
            reason=reason,
            violations=[Violation(field, description)],
            metadata=metadata,
        )


class InternalError(TesseraError):
    """A defect of Tessera's."""


class InvalidArgumentError(TesseraError):
    """The request is wrong whatever the state of the platform."""

    reason = "INVALID_ARGUMENT"


class OutOfRangeError(TesseraError):
    """The request points past what exists, for example a cursor past the last event."""

    reason = "OUT_OF_RANGE"


class NotFoundError(TesseraError):
    """The named thing does not exist."""

    reason = "NOT_FOUND"


class AlreadyExistsError(TesseraError):
    """Another thing has that name or id."""

    reason = "ALREADY_EXISTS"


class FailedPreconditionError(TesseraError):
    """The platform is not in the state that the request needs."""

    reason = "FAILED_PRECONDITION"


class AbortedError(TesseraError):
    """Another writer was faster."""

    reason = "ABORTED"


class ResourceExhaustedError(TesseraError):
    """No room now; `retry_after` says when to try again."""

    reason = "RESOURCE_EXHAUSTED"


class UnauthenticatedError(TesseraError):
    """No valid token."""

    reason = "UNAUTHENTICATED"


class PermissionDeniedError(TesseraError):
    """The caller may not do that."""

    reason = "PERMISSION_DENIED"


class UnavailableError(TesseraError):
    """The service cannot be reached, or is draining."""

    reason = "UNAVAILABLE"


class DeadlineExceededError(TesseraError):
    """The call took longer than it was allowed to."""

    reason = "DEADLINE_EXCEEDED"


class CancelledError(TesseraError):
    """The caller gave up."""

    reason = "CANCELLED"


class DataLossError(TesseraError):
    """Bytes do not match their checksum."""

    reason = "DATA_LOSS"


@contextmanager
def within(field: str) -> Iterator[None]:
    """Errors raised inside are about parts of `field`: their paths begin with it."""
    try:
        yield
    except TesseraError as error:
        error.violations = tuple(
            Violation(f"{field}.{found.field}", found.description) for found in error.violations
        )
        raise
