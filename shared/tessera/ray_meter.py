"""Metrics in the Prometheus endpoint of Ray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.util import metrics

from tessera.meter import Metric, MetricKind


class RayMeter:
    """Keeps the metrics of one process.

    Args:
        rows: the metrics.
        tags: of every series.
    """

    def __init__(self, rows: Iterable[Metric], **tags: str) -> None:
        self._kept = {row.name: _make(row, tags) for row in rows}

    def record(self, metric: Metric, value: float, **tags: str) -> None:
        """Raise a counter by a value, set a gauge to it, or put it into a histogram."""
        kept = self._kept[metric.name]
        if metric.kind is MetricKind.GAUGE:
            kept.set(value, tags)
        elif metric.kind is MetricKind.HISTOGRAM:
            kept.observe(value, tags)
        elif value:  # Ray takes no zero.
            kept.inc(value, tags)


def _make(row: Metric, tags: dict[str, str]) -> Any:
    made: metrics.Metric
    keys = (*tags, *row.tags)
    if row.kind is MetricKind.HISTOGRAM:
        made = metrics.Histogram(row.name, row.text, list(row.boundaries), tag_keys=keys)
    else:
        kind = metrics.Gauge if row.kind is MetricKind.GAUGE else metrics.Counter
        made = kind(row.name, row.text, tag_keys=keys)
    made.set_default_tags(tags)
    return made
