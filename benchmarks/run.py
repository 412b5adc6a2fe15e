"""Run every benchmark, one after the other, and write docs/benchmarks.md.

Each prints JSON lines; lines that compare with a baseline go into the table, the rest below it.
Runs on this machine only count as ratios: ours and the baseline, interleaved, medians.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
NAMES = ("training", "parameters", "inference", "startup")
AIMS = {
    "training": "training tokens/s ≥ 0.97 times the same loop under plain torchrun",
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


def measure(name: str) -> tuple[list[dict[str, Any]], float]:
    """The lines of one benchmark, shown as they come, and its seconds."""
    begin, lines = time.monotonic(), []
    command = [sys.executable, str(HERE / f"{name}.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith("{"):
                lines.append(json.loads(line))
    if process.returncode:
        sys.exit(f"{name} ended with code {process.returncode}")
    return lines, time.monotonic() - begin


def row(line: dict[str, Any]) -> str:
    """One line of the table."""
    unit, baseline = line["unit"], line["baseline"]
    values = f"{line['value']:,} {unit} | {line['baseline_value']:,} {unit}"
    return f"| {line['bench']} | {line['metric']} | {values} | {baseline} | **{line['ratio']}** |"


def document(results: dict[str, list[dict[str, Any]]], seconds: dict[str, float]) -> str:
    """The whole of docs/benchmarks.md."""
    everything = [line for lines in results.values() for line in lines]
    compared = [row(line) for line in everything if line.get("baseline")]
    raw = [json.dumps(line, ensure_ascii=False) for line in everything]
    aims = [f"- `benchmarks/{name}.py` ({seconds[name]:.0f} s): {AIMS[name]}" for name in results]
    day = datetime.now(UTC).date()
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "`make bench` measures Tessera beside a peer or a limit, in the same run and",
            "interleaved, and writes this page. Such machines are noisy: only the ratios count.",
            "",
            f"Measured on {day}: {machine()}.",
            "",
            "## Aims",
            "",
            *aims,
            "",
            "## Results",
            "",
            "| bench | metric | ours | baseline | the baseline is | ratio |",
            "|---|---|---|---|---|---|",
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
    """Run all, or those that are named; only a full run writes the page."""
    names = sys.argv[1:] or list(NAMES)
    results, seconds = {}, {}
    for name in names:
        results[name], seconds[name] = measure(name)
    if names == list(NAMES):
        DOCUMENT.write_text(document(results, seconds))


if __name__ == "__main__":
    main()
