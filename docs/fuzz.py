"""Write the result of `make fuzz JSON=FILE` into fuzz.md: `python docs/fuzz.py FILE`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from section import write

BEGIN, END = "<!-- result: written by docs/fuzz.py -->\n", "<!-- /result -->"
DOCUMENT = Path(__file__).parent / "fuzz.md"


def result(told: dict[str, Any]) -> str:
    """The figures of a run, and a table of its methods."""
    memory = " and ".join(
        f"{of['warm']:,} MiB, {of['grown']:+,} MiB after its first third"
        for of in told["memory_mib"].values()
    )
    statuses = ", ".join(f"{code} {count:,}" for code, count in told["calls_by_status"].items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, seed {told['seed']}: **{told['messages']:,} messages** in"
        f" {told['seconds']:,} seconds ({told['cpu_seconds']:,} of CPU),"
        f" {told['over_sockets']:,} of them over sockets;"
        f" {told['broken_connections']:,} connections that were no HTTP/2 or broke off. Findings:"
        f" {len(told['findings'])}. Memory of the two platforms: {memory}.\n\n"
        f"How the servers ended the calls, their own among one another included: {statuses}.\n"
        f"\n{table(told['methods'])}"
    )


def table(methods: dict[str, Any]) -> str:
    """A row for each method; `reached` is the share of its calls that came to its handler."""
    lines = [
        "| method | messages | over sockets | reached | OK | refused |",
        "|---|---|---|---|---|---|",
    ]
    # A connection that is no HTTP/2 may have anything as its path.
    known = [path for path in methods if path.startswith("/")]
    for service, group in groupby(known, key=lambda path: path.split("/")[1].split(".")[-1]):
        lines.append(f"| **{service}** | | | | | |")
        for path in group:
            of = methods[path]
            calls = sum(of["calls"].values())
            good = of["calls"].get("OK", 0)
            lines.append(
                f"| `{path.rpartition('/')[2]}` | {of['messages']:,} | {of['over_sockets']:,} |"
                f" {of['reached_handler'] / max(1, calls):.0%} | {good:,} | {calls - good:,} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write(DOCUMENT, BEGIN, END, result(json.loads(Path(sys.argv[1]).read_text())), "fuzz.py")
