"""A hold: a queued job with one is not scheduled. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class HoldReason(Enum):
    """Why a job is held."""

    HELD = "HELD"
    """Somebody held it: it runs on, and is not started again."""
    PAUSED = "PAUSED"
    """Somebody paused it: its attempt was stopped, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHold:
    """A queued job with a hold is not scheduled; `time` is in seconds since the epoch."""

    reason: HoldReason
    by: str
    message: str = ""
    time: float = 0.0
