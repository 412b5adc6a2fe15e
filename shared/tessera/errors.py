"""The one hierarchy of errors that Tessera raises. Pure.

`tessera.rpc.status` maps it to gRPC statuses and back, the command line to exit codes.
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
        quote: lines that explain it, the end of a log for example; shown below the message.
    """

    reason = "INTERNAL"
    transient = False
    """Whether trying again may help although nobody has mended anything."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        quote: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.quote = quote

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
    """A defect of Tessera's; what is behind it is not known, so it may pass."""

    transient = True


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
    transient = True


class ResourceExhaustedError(TesseraError):
    """No room now; `retry_after` says when to try again."""

    reason = "RESOURCE_EXHAUSTED"
    transient = True


class UnauthenticatedError(TesseraError):
    """No valid token."""

    reason = "UNAUTHENTICATED"
    transient = True


class PermissionDeniedError(TesseraError):
    """The caller may not do that."""

    reason = "PERMISSION_DENIED"


class UnavailableError(TesseraError):
    """The service cannot be reached, or is draining."""

    reason = "UNAVAILABLE"
    transient = True


class DeadlineExceededError(TesseraError):
    """The call took longer than it was allowed to."""

    reason = "DEADLINE_EXCEEDED"
    transient = True


class CancelledError(TesseraError):
    """The caller gave up."""

    reason = "CANCELLED"
    transient = True


class UnimplementedError(TesseraError):
    """The server has no such method."""

    reason = "UNIMPLEMENTED"


class DataLossError(TesseraError):
    """Bytes do not match their checksum."""

    reason = "DATA_LOSS"


def is_transient(error: BaseException) -> bool:
    """Whether what failed may succeed when it is tried again, although nobody has mended anything.

    Tessera's errors say so by their class. Of all others only those of the operating system do, a
    connection or a disk: the rest follows from code and data, which stay what they are.
    """
    if isinstance(error, TesseraError):
        return error.transient
    return isinstance(error, OSError)


def describe(error: BaseException) -> str:
    """One readable line: the message of an error of Tessera's, kind and first line of another."""
    if isinstance(error, TesseraError):
        return error.message
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


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
