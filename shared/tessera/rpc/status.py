"""The one table between Tessera's errors and gRPC statuses, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tessera import errors
from tessera.rpc.tls import failure

DOMAIN = "tessera"

M = TypeVar("M")

_CODES: dict[type[errors.TesseraError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.CancelledError: grpc.StatusCode.CANCELLED,
    errors.UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}
_ERRORS = {code: error for error, code in _CODES.items()}


def code_of(error: errors.TesseraError) -> grpc.StatusCode:
    """The status code of an error, by the nearest class in the table."""
    for base in type(error).__mro__:
        if base in _CODES:
            return _CODES[base]
    return grpc.StatusCode.INTERNAL


def to_status(error: errors.TesseraError) -> grpc.Status:
    """The rich status of an error: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    details = [_pack(info)]
    if error.violations:
        violation = error_details_pb2.BadRequest.FieldViolation
        fields = [violation(field=v.field, description=v.description) for v in error.violations]
        details.append(_pack(error_details_pb2.BadRequest(field_violations=fields)))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    number, _ = code_of(error).value
    status = status_pb2.Status(code=number, message=error.message, details=details)
    return rpc_status.to_status(status)


def from_rpc_error(error: grpc.RpcError) -> errors.TesseraError:
    """The Tessera error that a failed call stands for."""
    code, message = error.code(), error.details() or ""
    reason, metadata, violations, retry_after = None, {}, [], None
    for detail in _details(error):
        if (info := _unpack(detail, error_details_pb2.ErrorInfo)) is not None:
            reason, metadata = info.reason, dict(info.metadata)
        elif (bad := _unpack(detail, error_details_pb2.BadRequest)) is not None:
            violations = [errors.Violation(v.field, v.description) for v in bad.field_violations]
        elif (retry := _unpack(detail, error_details_pb2.RetryInfo)) is not None:
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "message larger than max" in message:
        # gRPC's own words, at either end; a door says more.
        reason = reason or "MESSAGE_TOO_LARGE"
    if code is grpc.StatusCode.UNAVAILABLE and not reason and (why := failure.reason_of(message)):
        return failure.tls_error(why, _called(message))
    kind = _ERRORS.get(code, errors.InternalError)
    return kind(
        message or code.name,
        reason=reason,
        metadata=metadata,
        violations=violations,
        retry_after=retry_after,
    )


def _called(message: str) -> str:
    """The address that gRPC names where it could not connect."""
    named = re.search(r"ipv[46]:([^ ]+?): ", message)
    return unquote(named.group(1)) if named else "the server"


def _details(error: grpc.RpcError) -> list[any_pb2.Any]:
    # Reads the trailer itself: rpc_status.from_call refuses the metadata of asyncio calls.
    trailer: Iterable[tuple[str, bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in trailer:
        if key == "grpc-status-details-bin":
            return list(status_pb2.Status.FromString(value).details)
    return []


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed


def _unpack(detail: any_pb2.Any, kind: type[M]) -> M | None:
    message = kind()
    return message if detail.Unpack(message) else None  # type: ignore[arg-type]
