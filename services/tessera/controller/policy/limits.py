"""What a job's own spec says of time, and of making room for others. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """All in seconds; 0: there is no such limit.

    Args:
        time_limit: of one attempt, from its placement on.
        start_within: from the submission until the job runs for the first time.
        stall_timeout: without a word or a step of the attempt.
        ttl: from the end of the job until it is deleted.
        preemptible: others may have its place.
        min_runtime: of an attempt, before others may have its place.
    """

    time_limit: float = 0.0
    start_within: float = 0.0
    stall_timeout: float = 0.0
    ttl: float = 0.0
    preemptible: bool = True
    min_runtime: float = 0.0
