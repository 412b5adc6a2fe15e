"""A chart of lines as SVG, by hand: no library is needed to draw one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 56, 24, 190, 44
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#555555")
Points = Sequence[tuple[float, float]]


def ticks(low: float, high: float) -> list[float]:
    """Five to ten round values."""
    step = 10.0 ** len(str(int(max(1.0, (high - low) * 1000)))) / 1000
    while (high - low) / step < 4:
        step /= 2 if (high - low) / step >= 2 else 5
    first = int(low / step + (0.999 if low > 0 else 0)) * step
    return [first + number * step for number in range(int((high - first) / step + 1e-9) + 1)]


def svg(lines: Mapping[str, Points], *, x: str, y: str, low: tuple[float, float]) -> str:
    """Lines by name, with the names of the axes; what lies below `low` is cut off."""
    points = [point for line in lines.values() for point in line]
    right, top = max(point[0] for point in points), max(point[1] for point in points)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(point: tuple[float, float]) -> tuple[float, float]:
        along = (point[0] - low[0]) / max(right - low[0], 1e-9)
        up = (point[1] - low[1]) / max(top - low[1], 1e-9)
        return LEFT + wide * along, TOP + tall * (1 - up)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">',
        "<style>text{font:12px sans-serif}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in ticks(low[1], top):
        height = at((low[0], value))[1]
        parts.append(
            f'<path d="M{LEFT} {height:.1f}H{LEFT + wide}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in ticks(low[0], right):
        across = at((value, low[1]))[0]
        parts.append(
            f'<text x="{across:.1f}" y="{TOP + tall + 18}" text-anchor="middle">{value:g}</text>'
        )
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        inside = [point for point in line if point[0] >= low[0] and point[1] >= low[1]]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(at, inside))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            f'<text x="{LEFT + wide + 12}" y="{TOP + 14 + 18 * number}" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    parts.append(
        f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="{LEFT}" y="{TOP - 8}">{escape(y)}</text></svg>'
    )
    return "\n".join(parts) + "\n"
