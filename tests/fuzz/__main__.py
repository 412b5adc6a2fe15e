"""Fuzz every method of every service: within the process, and over sockets.

    make fuzz [SEED=1] [MESSAGES=1100000] [SECONDS=1080]
    python -m fuzz [--seed N] [--messages N] [--seconds N] [--wire 0.45] [--json FILE]
    make fuzz SEED=1 FIRST=NUMBER MESSAGES=1      one case again, of names that are there then
    make fuzz REPLAY=FILE                         one again, byte for byte: the JSON it was told by

Three processes of their own: a platform that is called from within, another one that waits for
callers, and their callers. What went wrong is printed with the line that does it again; the exit
code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from .processes import Child, start_wire, start_within
from .report import Report

BAR = 30
DEFAULT_MESSAGES = 1_100_000
DEFAULT_SECONDS = 1080.0
MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free there: more than what the platforms of a run store."""
LATE_SECONDS = 60.0
"""For what is begun to end, before a process counts as hung."""


def bar(done: int, wanted: int, spent: float, seconds: float, rss: float) -> str:
    part = min(1.0, max(done / max(1, wanted), spent / seconds))
    full = int(part * BAR)
    return (
        f"\r[{'#' * full}{'.' * (BAR - full)}] {done:,} messages, {done / max(1.0, spent):,.0f}/s, "
        f"{spent:,.0f} s, {rss:,.0f} MiB "
    )


def watch(children: list[Child], wanted: int, seconds: float) -> None:
    """Until all have ended."""
    begin = time.monotonic()
    while any(child.calls and child.running for child in children):
        spent = time.monotonic() - begin
        done = sum(child.done for child in children)
        for child in children:
            child.sample()
        if sys.stderr.isatty() or int(spent) % 30 == 0:
            rss = sum(child.rss[-1] for child in children if child.rss)
            end = "" if sys.stderr.isatty() else "\n"
            sys.stderr.write(bar(done, wanted, spent, seconds, rss) + end)
        if spent > seconds + LATE_SECONDS:
            for child in children:
                child.give_up("it did not end in time")
        if any(not child.calls and not child.running for child in children):
            for child in children:
                child.give_up("the platform that it calls is gone")
        time.sleep(1.0)
    sys.stderr.write("\n")
    for child in children:
        child.close()


def _cpu_seconds() -> float:
    """Of all processes of the run: half of it is what two idle cores take at least."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def home() -> Path | None:
    """Where the platforms of a run store what they store: in memory, if there is room for it.

    Whoever changes something waits until the disk has it. Nothing here asks whether it does, and on
    a disk the cores had nothing to do for a fifth of the time.
    """
    room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if room else None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--messages", type=int, default=DEFAULT_MESSAGES)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--wire", type=float, default=0.45, help="share that goes over sockets")
    parser.add_argument("--replay", type=Path, help="file with a case, as it is printed")
    parser.add_argument("--json", type=Path, help="also write what was found there")
    options = parser.parse_args()
    alone = options.first or options.replay
    wire = 0 if alone else int(options.messages * options.wire)
    with tempfile.TemporaryDirectory(prefix="tessera-fuzz-", dir=home()) as folder:
        path = Path(folder)
        begin = time.monotonic()
        children = []
        if wire:
            children += start_wire(path / "wire", options.seed, wire, options.seconds)
        rest = options.messages - wire
        if rest:
            within = start_within(
                path / "within", options.seed, rest, options.seconds,
                first=options.first, replay=options.replay,
            )  # fmt: skip
            children.append(within)
        watch(children, options.messages, options.seconds)
        report = Report(children, options.seed, time.monotonic() - begin, _cpu_seconds())
    sys.stdout.write(report.text())
    if options.json is not None:
        options.json.write_text(json.dumps(report.summary(), indent=1) + "\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
