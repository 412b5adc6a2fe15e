"""Curves as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]

MARKS = "·o-+x"


def plot(curves: Mapping[str, Points], *, width: int = 72, height: int = 16) -> list[str]:
    """Lines of a chart with its axes and a legend; no curves, no lines.

    Args:
        curves: points (x, y) by name; later curves are drawn over earlier ones.
        width: columns of the plot itself.
        height: its rows.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return []
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points), max(y for _, y in points)
    cells = [[" "] * width for _ in range(height)]
    for mark, curve in zip(MARKS, curves.values(), strict=False):
        for x, y in curve:
            column = _cell(x, low_x, high_x, width)
            cells[height - 1 - _cell(y, low_y, high_y, height)][column] = mark
    lines = []
    for row, line in enumerate(cells):
        value = high_y - (high_y - low_y) * row / max(1, height - 1)
        label = f"{value:8.3f}" if row in {0, height // 2, height - 1} else " " * 8
        lines.append(f"{label} │{''.join(line).rstrip()}")
    lines.append(f"{' ' * 8} └{'─' * width}")
    lines.append(f"{' ' * 10}{low_x:<{width // 2}g}{high_x:>{width - width // 2}g}")
    legend = (f"{mark} {name}" for mark, name in zip(MARKS, curves, strict=False))
    lines.append(f"{' ' * 10}{'   '.join(legend)}")
    return lines


def _cell(value: float, low: float, high: float, cells: int) -> int:
    share = (value - low) / (high - low) if high > low else 0.0
    return min(cells - 1, int(share * (cells - 1) + 0.5))
