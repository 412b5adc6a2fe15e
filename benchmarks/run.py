"""Run every benchmark that needs no accelerator, or those that are named; write docs/benchmarks.md.

    python benchmarks/run.py [NAME …] [--lines FILE]

Each prints JSON lines; lines that compare with a baseline go into a table, and all of them below
it. Benchmarks that were not run keep their lines. A line that names its hardware was measured on
that, not on the machine that all others are of: it has a table of its own, and only another
measurement of the same on the same hardware takes its place. `--lines` takes in such lines, as
gpu_training.py printed them elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tessera.local.guard import Guard

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
AIMS = {
    "training": "tokens/s of each family ≥ 0.97 times the same loop under plain torchrun, and "
    "≥ 1.2 times transformers.Trainer on the same sizes (the same matrix products bound both: "
    "much is to be won only where less is computed, as by a BERT's head at hidden places alone)",
    "parameters": "push and pull of 256 MiB ≥ 0.9 times a bare gRPC stream into such a pool; 5,000 "
    "tensors of 4 KiB ≤ 3 times the CPU of one of as many bytes",
    "lane": "on one host a reader has the files of 1 MiB, 64 MiB and 1 GiB within 5 ms, and copies "
    "out of them, verified, at ≥ 0.7 times the rate of a bare copy in memory; a push takes less of "
    "both processors than over gRPC",
    "commit": "a commit holds training up ≤ 1.5 times as long as a copy of its state in memory; of "
    "adapters ≤ 1.1 times what has changed is sent",
    "checkpoint": "a background commit of four ranks' state holds training up no longer than "
    "torch.distributed.checkpoint's async_save, and two ranks load its columns in no longer; what "
    "a save costs more, which goes to another process and is checked, is told, not bounded",
    "memory": "a reader has ≤ a quarter of what it reads and 64 MiB more, a shard ≤ its pool and a "
    "quarter",
    "plan": "CPU of planning ≤ 20 ms for 1,024 slices of a tensor, and ≤ 3 s for FSDP on 512 ranks "
    "to all of TP on 8 of a model of 175 billion parameters with AdamW's states, whose coverage "
    "takes ≤ 8 s, on whatever axis it is cut; bytes moved ≤ 1.05 times those needed",
    "inference": "8 streams over gRPC ≥ 0.9 times the same engine driven in its own process",
    "door": "a call of another tenant ≤ 2 times as long beside 16 idle pushes and 500 watchers of "
    "one; a unary call through the door ≤ 2.5 times one of a bare grpc.aio server",
    "tls": "a unary call and a streamed message over TLS ≤ 1.25 times one in clear; what a push "
    "and a pull of 256 MiB lose by it is told, not bounded",
    "flood": "a call of another tenant ≤ 2 times as long beside 100,000 submissions of one, 1,000 "
    "texts of 512 masks, 30 of them, which are allowed, and one of 5 MB",
    "scheduler": "a pass at 10,000 nodes and 80,000 GPUs with 10,000 jobs held and 1,000 changed "
    "≤ 100 ms of CPU, one after nothing ≤ 1 ms; 50,000 workloads over 1,000 queues ≥ 2,000 "
    "admissions/s, in one queue ≥ 500/s",
    "startup": "submit to first optimizer step ≤ 1.1 times `ray job submit` of the same loop",
    "gpu_training": "GPT-2 124M, compiled, in bfloat16, at ≥ 50 % of one accelerator's peak (MFU)",
}
ELSEWHERE = ("gpu_training",)
"""Run by name only, where there is an accelerator."""

MEASURED = "Measured on "
HEAD = "| metric | ours | baseline | the baseline is | ratio | day |\n|---|---|---|---|---|---|---|"


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
    return {**line, "day": line.get("day", str(datetime.now(UTC).date()))}


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


def lines_in(text: str) -> list[dict[str, Any]]:
    """The JSON lines among others."""
    return [json.loads(line) for line in text.splitlines() if line[:1] == "{"]


def machine_in(page: str) -> str:
    """The machine that a page was measured on, as it says; empty: it does not."""
    said = next((line for line in page.splitlines() if line.startswith(MEASURED)), "")
    return said.removeprefix(MEASURED).removesuffix(".")


def key(line: dict[str, Any]) -> tuple[str, ...]:
    """A line takes the place of those that have the same one."""
    hardware = line.get("hardware")
    return (line["bench"], line["metric"], hardware) if hardware else (line["bench"],)


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old lines but for those that are renewed, and new ones, in the order of the aims."""
    renewed = {key(line) for line in new}
    lines = [*(line for line in old if key(line) not in renewed), *new]
    return sorted(lines, key=lambda line: list(AIMS).index(line["bench"]))


def row(line: dict[str, Any]) -> str:
    """One line of a table."""
    unit = line["unit"]
    peer = ("", "", "")
    if line.get("baseline"):
        peer = (f"{line['baseline_value']:,} {unit}", line["baseline"], f"**{line['ratio']}**")
    first = line.get("hardware") or line["bench"]
    cells = (first, line["metric"], f"{line['value']:,} {unit}", *peer, line["day"])
    return f"| {' | '.join(cells)} |"


def elsewhere(lines: list[dict[str, Any]]) -> list[str]:
    """What was measured on other hardware."""
    if not lines:
        names = ", ".join(f"`benchmarks/{name}.py`" for name in ELSEWHERE)
        return [f"Not measured yet: {names} needs an accelerator."]
    return [f"| hardware {HEAD}", *map(row, lines)]


def document(lines: list[dict[str, Any]], here: str) -> str:
    """The whole of docs/benchmarks.md; `here` is what lines without hardware were measured on."""
    own = [line for line in lines if not line.get("hardware")]
    compared = [row(line) for line in own if line.get("baseline")]
    raw = [json.dumps(line, ensure_ascii=False) for line in lines]
    aims = [f"- `benchmarks/{name}.py`: {aim}" for name, aim in AIMS.items()]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "`make bench` measures Tessera beside a peer or a limit, in the same run and",
            "interleaved, and writes this page. Such machines are noisy: only the ratios count.",
            "Values are medians. Where two take turns at a rate (tokens/s of training, inference",
            "and gpu_training), the ratio is the median of the turns' ratios, so that it need not",
            "be the quotient of the two values beside it; everywhere else it is just that.",
            "Lines stay until they are measured again: those of another day may be of another",
            "machine of that size.",
            "",
            f"{MEASURED}{here}.",
            "",
            "## Aims",
            "",
            *aims,
            "",
            "## Results",
            "",
            f"| bench {HEAD}",
            *compared,
            "",
            "## On other hardware",
            "",
            *elsewhere([line for line in lines if line.get("hardware")]),
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(AIMS))
    parser.add_argument("--lines", type=Path, metavar="FILE", help="measured on other hardware")
    told = parser.parse_args()
    unknown = [name for name in told.names if name not in AIMS]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]}; there are: {', '.join(AIMS)}")
    found = lines_in(told.lines.read_text()) if told.lines else []
    if any(not line.get("hardware") for line in found):
        sys.exit(f"{told.lines}: here is a line that names no hardware")
    here = [] if told.lines else [name for name in AIMS if name not in ELSEWHERE]
    new = [dated(line) for line in found]
    with Guard.start():
        new += [line for name in told.names or here for line in measure(name)]
    page = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    same = all(line.get("hardware") for line in new) and machine_in(page)
    DOCUMENT.write_text(document(merged(lines_in(page), new), same or machine()))


if __name__ == "__main__":
    main()
