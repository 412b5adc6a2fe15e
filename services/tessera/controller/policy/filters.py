"""The filter of ListJobs: `ended=false AND label.team=nlp`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tessera import errors
from tessera.controller.policy.job import TERMINAL, JobState

_COLUMNS = ("name", "queue", "owner")
_LABEL = re.compile(r"[A-Za-z0-9_./-]{1,63}")
_HELP = "write state=, ended=, name=, queue=, owner= or label.KEY=, joined by ` AND `"
_ENDED = {
    "true": tuple(state.value for state in JobState if state in TERMINAL),
    "false": tuple(state.value for state in JobState if state not in TERMINAL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`column` or `label` must be one of `values`."""

    values: tuple[str, ...]
    column: str = ""
    label: str = ""


def parse(text: str) -> list[Condition]:
    """The conditions of a filter; empty text has none.

    Raises:
        InvalidArgumentError: it is not a filter (INVALID_FILTER, field `filter`).
    """
    if not text.strip():
        return []
    return [_condition(part.strip()) for part in re.split(r"\s+AND\s+", text.strip())]


def _condition(text: str) -> Condition:
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not value:
        raise _bad(f"'{text}' is no condition")
    if key.startswith("label."):
        label = key.removeprefix("label.")
        if not _LABEL.fullmatch(label):
            raise _bad(f"'{label}' is no label")
        return Condition(label=label, values=(value,))
    if key == "state":
        return Condition(column="state", values=(_state(value),))
    if key == "ended":
        if value.lower() not in _ENDED:
            raise _bad(f"'{value}' is neither true nor false")
        return Condition(column="state", values=_ENDED[value.lower()])
    if key not in _COLUMNS:
        raise _bad(f"jobs cannot be filtered by '{key}'")
    return Condition(column=key, values=(value,))


def _state(text: str) -> str:
    name = text.upper().removeprefix("JOB_STATE_")
    if name not in JobState.__members__:
        raise _bad(f"'{name}' is no state; there are {', '.join(JobState.__members__)}")
    return name


def _bad(message: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"filter: {message}; {_HELP}",
        reason="INVALID_FILTER",
        violations=[errors.Violation("filter", f"{message}; {_HELP}")],
    )
