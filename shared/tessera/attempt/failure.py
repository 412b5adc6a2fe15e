"""Why an attempt failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FailureCategory(Enum):
    """What follows from a failure."""

    USER = "USER"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    WORKER_LOST = "WORKER_LOST"
    LAUNCH = "LAUNCH"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed.

    Args:
        category: what follows from it.
        reason: stable, upper-case name.
        message: one readable sentence.
        rank: at fault; -1 where none is.
        traceback: of the guilty rank, where it helps.
        exit_code: of the driver's process; 0 where it reported the outcome itself.
    """

    category: FailureCategory
    reason: str
    message: str
    rank: int = -1
    traceback: str = ""
    exit_code: int = 0
