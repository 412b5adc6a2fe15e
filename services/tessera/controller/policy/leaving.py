"""Why an attempt is asked to go by the scheduler, and how long it has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tessera.controller.policy.job import Requeue
from tessera.controller.policy.stop import StopCause
from tessera.controller.scheduling.decisions import Preemption

LOST_GRACE = 10.0
"""Seconds in which the driver itself may tell what became of an attempt that lost a node."""
_PLATFORM = "the platform"


def leaving(
    preemptions: Iterable[Preemption], drained: Iterable[str], lost: Iterable[str]
) -> Mapping[str, Requeue]:
    """What jobs are asked: those that are preempted, whose node is drained, or is gone.

    Of several causes the first of these counts: preemption, a lost node, a drained one.
    """
    asked = {
        item.victim: Requeue(
            cause=StopCause.PREEMPTED,
            by=item.workload,
            message=f"{item.workload} comes before it.",
        )
        for item in preemptions
    }
    drain = Requeue(
        cause=StopCause.REQUEUED, by=_PLATFORM, message="A node that it is on is drained."
    )
    gone = Requeue(
        cause=StopCause.NODE_LOST,
        by=_PLATFORM,
        message="A node that a worker of it was given is gone.",
        grace=LOST_GRACE,
    )
    return dict.fromkeys(drained, drain) | dict.fromkeys(lost, gone) | asked
