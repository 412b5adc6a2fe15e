"""The packing benchmark and what it draws, on a small fleet."""

from __future__ import annotations

import pytest
from small_fleets import node, work

NODES = [node(f"n{number}", 4, cpu=16) for number in range(6)]
TASKS = [work("one", 1, cpu=2), work("half", share=500, cpu=1), work("four", 4, cpu=8)]


@pytest.fixture
def packing(load):
    return load("packing")


def test_every_policy_fills_a_small_fleet(packing):
    tasks = packing.drawn(TASKS, 1.3 * 24_000, 0)
    assert sum(map(packing.asked, tasks)) >= 31_200
    packing.POINTS = 5
    for name, make in packing.policies(0, TASKS).items():
        curve = packing.fill(NODES, tasks, make())
        assert curve == sorted(curve), name
        assert 0.6 < curve[-1][1] <= 1.0, name


def test_a_draw_comes_from_its_seed(packing):
    assert packing.drawn(TASKS, 9000, 3) == packing.drawn(TASKS, 9000, 3)


def test_a_chart_shows_every_line(load):
    chart = load("line_chart")
    drawing = chart.svg(
        {"one": [(0.0, 0.0), (1.0, 1.0)], "a < b": [(0.0, 1.0)]}, x="x", y="y", low=(0.0, 0.0)
    )
    assert drawing.count("<polyline") == 2
    assert "a &lt; b" in drawing
    assert 4 <= len(chart.ticks(0.85, 1.3)) <= 12
