"""What services count: metrics, and who keeps their values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class MetricKind(StrEnum):
    """What becomes of the values of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Args:
        name: of its series.
        text: what it tells.
        kind: what becomes of its values.
        tags: names of what is told with each value, beside what tells the process.
        boundaries: of a histogram's buckets.
    """

    name: str
    text: str
    kind: MetricKind = MetricKind.COUNTER
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


class Meter(Protocol):
    """Keeps metrics; called from any thread."""

    def record(self, metric: Metric, value: float, **tags: str) -> None:
        """Raise a counter by a value, set a gauge to it, or put it into a histogram."""


class NoMeter:
    """Keeps nothing."""

    def record(self, metric: Metric, value: float, **tags: str) -> None:
        """Do nothing."""
