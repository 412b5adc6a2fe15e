"""Why an attempt is asked to stop before it has done what it was to do. Pure."""

from __future__ import annotations

from enum import Enum


class StopCause(Enum):
    """Why an attempt is STOPPING, which says what follows."""

    PREEMPTED = "PREEMPTED"
    """Others take its place; the job goes back to the queue."""
    PAUSED = "PAUSED"
    """Somebody paused the job; it goes back to the queue, held."""
    REQUEUED = "REQUEUED"
    """Somebody asked for another attempt; the job goes back to the queue."""
    NODE_LOST = "NODE_LOST"
    """A node that it has a worker on is gone; the job goes back to the queue."""
    TIME_LIMIT = "TIME_LIMIT"
    """It ran for as long as its job lets an attempt run; the job fails."""
    START_DEADLINE = "START_DEADLINE_EXCEEDED"
    """It did not run in time; the job fails."""
    STALLED = "STALLED"
    """It got no further; the attempt counts as failed, and may be repeated."""

    @property
    def requeues(self) -> bool:
        """The job goes back to the queue, at no cost of budget."""
        return self in _REQUEUES


_REQUEUES = frozenset(
    {StopCause.PREEMPTED, StopCause.PAUSED, StopCause.REQUEUED, StopCause.NODE_LOST}
)
FINAL = frozenset({StopCause.TIME_LIMIT, StopCause.START_DEADLINE})
"""Of these the job fails, whatever becomes of the attempt."""
