"""Run every benchmark, or those that are named, and write docs/benchmarks.md.

Each prints JSON lines; lines that compare with a baseline go into the table, and all of them below
it. Benchmarks that were not run keep their lines.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
AIMS = {
    "training": "tokens/s of each family ≥ 0.97 times the same loop under plain torchrun, and "
    "≥ 1.2 times transformers.Trainer on the same sizes",
    "parameters": "push and pull of 256 MiB ≥ 0.9 times a bare gRPC stream into such a pool",
    "inference": "8 streams over gRPC ≥ 0.9 times the same engine driven in its own process",
    "startup": "submit to first optimizer step ≤ 1.1 times `ray job submit` of the same loop",
}


def machine() -> str:
    """What the figures were measured on, in a sentence."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory, no accelerator, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def dated(line: dict[str, Any]) -> dict[str, Any]:
    """A line, with the day of its measurement: others are kept when it is renewed."""
    return {**line, "day": str(datetime.now(UTC).date())}


def measure(name: str) -> list[dict[str, Any]]:
    """The lines of one benchmark, shown as they come."""
    lines = []
    command = [sys.executable, str(HERE / f"{name}.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith("{"):
                lines.append(dated(json.loads(line)))
    if process.returncode:
        sys.exit(f"{name} ended with code {process.returncode}")
    return lines


def earlier() -> list[dict[str, Any]]:
    """The lines of the page as it is."""
    if not DOCUMENT.exists():
        return []
    return [json.loads(line) for line in DOCUMENT.read_text().splitlines() if line[:1] == "{"]


def row(line: dict[str, Any]) -> str:
    """One line of the table."""
    unit, baseline = line["unit"], line["baseline"]
    values = f"{line['value']:,} {unit} | {line['baseline_value']:,} {unit}"
    ratio = f"**{line['ratio']}** | {line['day']}"
    return f"| {line['bench']} | {line['metric']} | {values} | {baseline} | {ratio} |"


def document(lines: list[dict[str, Any]]) -> str:
    """The whole of docs/benchmarks.md."""
    compared = [row(line) for line in lines if line.get("baseline")]
    raw = [json.dumps(line, ensure_ascii=False) for line in lines]
    aims = [f"- `benchmarks/{name}.py`: {aim}" for name, aim in AIMS.items()]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "`make bench` measures Tessera beside a peer or a limit, in the same run and",
            "interleaved, and writes this page. Such machines are noisy: only the ratios count.",
            "",
            f"Measured on {machine()}.",
            "",
            "## Aims",
            "",
            *aims,
            "",
            "## Results",
            "",
            "| bench | metric | ours | baseline | the baseline is | ratio | day |",
            "|---|---|---|---|---|---|---|",
            *compared,
            "",
            "## Every line",
            "",
            "```json",
            *raw,
            "```",
            "",
        ]
    )


def main() -> None:
    """Run, and write the page."""
    names = sys.argv[1:] or list(AIMS)
    results = {name: measure(name) for name in names}
    kept = [line for line in earlier() if line["bench"] not in results]
    lines = [*kept, *(line for found in results.values() for line in found)]
    DOCUMENT.write_text(document(sorted(lines, key=lambda line: list(AIMS).index(line["bench"]))))


if __name__ == "__main__":
    main()
