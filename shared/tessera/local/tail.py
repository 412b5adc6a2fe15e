"""The end of a log, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

LINES, WIDTH = 3, 240
_BLOCK = 1 << 16


def tail(path: Path, since: int = 0) -> str:
    """The last lines that say something, and where the rest is.

    Args:
        path: of the log.
        since: bytes that it had before; what stands there is left out.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(since, size - _BLOCK) if size >= since else 0)
            added = file.read().decode(errors="replace")
    except OSError:
        return f"(no log at {path})"
    lines = [line for line in _readable(added.splitlines()) if line.strip()][-LINES:]
    shown = (line if len(line) <= WIDTH else f"{line[:WIDTH]} …" for line in lines)
    return "\n".join([*shown, f"all of it: {path}"])


def _readable(lines: list[str]) -> Iterator[str]:
    """Records as sentences; other lines as they are."""
    for line in lines:
        try:
            record = json.loads(line) if line.startswith("{") else None
        except ValueError:
            record = None
        if not isinstance(record, dict) or "event" not in record:
            yield line.expandtabs().rstrip()
            continue
        more = (str(record[key]) for key in ("message", "error", "reason") if record.get(key))
        yield ": ".join([str(record["event"]), *more])
        yield from str(record.get("exception", "")).splitlines()
