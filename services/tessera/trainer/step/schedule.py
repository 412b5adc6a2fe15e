"""Learning rate over the run. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up to `peak`, then a cosine down to `floor` at the last step."""

    steps: int
    warmup: int
    peak: float
    floor: float

    def rate(self, step: int) -> float:
        """Learning rate of the step that follows `step` finished ones."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        rest = max(1, self.steps - 1 - self.warmup)
        share = min(1.0, (step - self.warmup) / rest)
        return self.floor + (self.peak - self.floor) * 0.5 * (1 + math.cos(math.pi * share))
