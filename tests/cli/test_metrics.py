"""A job's metrics on the command line, and how they are drawn."""

from __future__ import annotations

import pytest

from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.cli.chart import plot

pytestmark = pytest.mark.processes


def test_metrics(on, running):
    job, attempt = running()
    assert "no such points yet" in on("metrics", job).out
    for step in (1, 2, 3):
        values = {"loss": 4.0 - step, "lr": 0.1}
        attempt.report(metric=job_pb2.MetricPoint(step=step, values=values))
    chart = on("metrics", job).out
    assert "· loss" in chart
    assert chart.count("·") == 4
    assert "3.000 │" in chart
    assert "· lr" in on("metrics", job, "--name", "lr").out
    points = on("metrics", job, "--output", "json").lines
    assert [point["values"]["loss"] for point in points] == [3.0, 2.0, 1.0]
    attempt.finish(success=attempt_pb2.Success(version=1))


def test_chart():
    assert plot({}) == []
    lines = plot({"a": [(0, 1.0), (10, 3.0)], "b": [(5, 2.0)]}, width=11, height=3)
    assert lines[0] == "   3.000 │          ·"
    assert lines[1] == "   2.000 │     o"
    assert lines[2] == "   1.000 │·"
    assert lines[-1].strip() == "· a   o b"
    flat = plot({"a": [(1, 2.0)]}, width=4, height=2)
    assert flat[1] == "   2.000 │·"
