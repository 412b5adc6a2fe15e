"""Column types that hold the domain's values, so that a row carries what a record has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa

from tessera.attempt.failure import Failure, FailureCategory
from tessera.attempt.progress import Progress
from tessera.controller.policy.hold import HoldReason, JobHold
from tessera.controller.policy.records import StoredWorker
from tessera.controller.scheduling.decisions import Reason


class Named(sa.TypeDecorator[Any]):
    """A member of an enum, stored by its value; the value itself may stand in a condition."""

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[Enum], length: int) -> None:
        self.kind = kind
        super().__init__(length)

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """The value of a member."""
        del dialect
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """The member of a value."""
        del dialect
        return None if value is None else self.kind(value)


class Json(sa.TypeDecorator[Any]):
    """A value as JSON; `decode` makes it again of its JSON form, which is never null."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, decode: Callable[[Any], Any] | None = None) -> None:
        self.decode = decode
        super().__init__(none_as_null=True)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """A key of an object is no object."""
        return self.impl_instance.coerce_compared_value(op, value)

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """The JSON form."""
        del dialect
        return plain(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """The value."""
        del dialect
        return value if value is None or self.decode is None else self.decode(value)


def plain(value: Any) -> Any:
    """The JSON form of a value; a number that JSON does not have becomes null."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def progress(form: dict[str, Any]) -> Progress:
    """Progress of its JSON form, where a number that is not finite is null."""
    metrics = {name: _number(value) for name, value in form.get("metrics", {}).items()}
    return Progress(**{**form, "loss": _number(form["loss"]), "metrics": metrics})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def failure(form: dict[str, Any]) -> Failure:
    """A failure of its JSON form."""
    return Failure(**{**form, "category": FailureCategory(form["category"])})


def reasons(form: list[dict[str, Any]]) -> tuple[Reason, ...]:
    """Reasons of their JSON form; earlier builds wrote `reason` for the code."""
    return tuple(
        Reason(
            code=item.get("code") or item["reason"],
            message=item["message"],
            about=item.get("about", {}),
        )
        for item in form
    )


def workers(form: list[dict[str, Any]]) -> tuple[StoredWorker, ...]:
    """The places of workers of their JSON form."""
    return tuple(StoredWorker(**{**item, "devices": tuple(item["devices"])}) for item in form)


def hold(form: dict[str, Any]) -> JobHold:
    """A hold of its JSON form."""
    return JobHold(**{**form, "reason": HoldReason(form["reason"])})
