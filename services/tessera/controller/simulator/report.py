"""What a simulation measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True, kw_only=True)
class Measures:
    """Sampled as the simulation goes.

    Args:
        waits: seconds from arrival to first start, by job.
        samples: time, devices in use and devices in all, processors in use and in all, and devices
            that are free on nodes where a whole one is not.
        by_queue: device-seconds used, by queue.
        preemptions: how much work was asked to go.
        restarts: attempts beyond the first.
        finished: how many jobs are over.
        failed: how many of them after their last retry.
        passes: passes of the scheduler that decided something.
    """

    waits: list[float] = field(default_factory=list)
    samples: list[tuple[float, float, float, float]] = field(default_factory=list)
    by_queue: dict[str, float] = field(default_factory=dict)
    preemptions: int = 0
    restarts: int = 0
    finished: int = 0
    failed: int = 0
    passes: int = 0

    def report(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Figures: utilisation and fragmentation weighted by time, waits, fairness.

        Args:
            shares: the part that each queue is due to. Fairness is Jain's index of what each used
                beside that: 1 is even.
        """
        times = np.array([sample[0] for sample in self.samples])
        values = np.array([sample[1:] for sample in self.samples]).reshape(len(times), 3)
        spans = np.diff(times) if len(times) > 1 else np.zeros(0)
        total = max(float((values[:-1, 1] * spans).sum()), 1e-9)
        used = float((values[:-1, 0] * spans).sum())
        broken = float((values[:-1, 2] * spans).sum())
        relative = [self.by_queue.get(name, 0.0) / part for name, part in shares.items() if part]
        return {
            "utilisation": used / total,
            "fragmentation": broken / max(total - used, 1e-9),
            "wait_p50": percentile(self.waits, 50),
            "wait_p99": percentile(self.waits, 99),
            "fairness": jain(relative),
            "preemptions": float(self.preemptions),
            "restarts": float(self.restarts),
            "finished": float(self.finished),
            "failed": float(self.failed),
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """Of some values; 0 of none."""
    return float(np.percentile(values, percent)) if values else 0.0


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1/n where one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
