"""Write the table of limits in docs/security.md; with --check, fail if it is not up to date."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from section import write

from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.rate import Rate

DOCUMENT = Path(__file__).with_name("security.md")
BEGIN, END = "<!-- limits: written by docs/limits.py -->\n", "<!-- /limits -->"


def described(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each of its fields."""
    _, _, arguments = (inspect.getdoc(kind) or "").partition("Args:\n")
    parts = re.split(r"^    (\w+): ", arguments, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def shown(value: float | None, name: str) -> str:
    """A number as people read it."""
    if value is None:
        return "none"
    if "bytes" in name:
        for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
            if value >= 1 << power and not value % (1 << power):
                return f"{int(value) >> power:,} {unit}"
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"


def rows(value: Any, path: tuple[str, ...] = (), of: str = "") -> Iterator[str]:
    """A row for every number; `of` says what a rate is of."""
    said = described(type(value))
    for field in dataclasses.fields(value):
        inner, name = getattr(value, field.name), field.name
        if dataclasses.is_dataclass(inner):
            rate = f"{said[name].removesuffix('.')}: " if isinstance(inner, Rate) else ""
            yield from rows(inner, (*path, name), rate)
        elif not isinstance(inner, Mapping):
            least, most = (shown(field.metadata[bound], name) for bound in ("least", "most"))
            cells = (f"`{'.'.join((*path, name))}`", shown(inner, name), f"{least} to {most}")
            yield f"| {' | '.join(cells)} | {of}{said[name]} |\n"


def table() -> str:
    """The whole table."""
    head = "| field | default | from, to | |\n|---|---|---|---|\n"
    return head + "".join(rows(PlatformLimits()))


if __name__ == "__main__":
    write(DOCUMENT, BEGIN, END, table(), "limits.py")
