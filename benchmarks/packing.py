"""How full each placement policy gets a cluster: the openb trace of 1,523 nodes and 6,212 GPUs.

Tasks are drawn from the trace, from a seed, until they ask for 1.3 times the GPUs that there are,
and come one after another, as in the evaluation of fragmentation gradient descent (Weng et al.,
ATC'23): what fits starts and stays, what does not is left out. Allocation is what is in use in the
end. One JSON object per line; the baseline is fragmentation gradient descent in the same run.
`--svg` draws allocation over what was asked for; `--table` prints the table of docs/scheduling.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from line_chart import svg
from tessera.controller.scheduling.fragmentation import (
    FragmentationGradient,
    LookAhead,
    WorkProfile,
)
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.option import Option, options
from tessera.controller.scheduling.packing import BestFit, FirstFit, Pack, Policy, RandomFit
from tessera.controller.scheduling.placing import Ground, find
from tessera.controller.scheduling.shape import WHOLE
from tessera.controller.scheduling.workload import Workload
from tessera.controller.simulator.load import openb_nodes, openb_work

NODES, TASKS = "openb_node_list_all_node.csv.gz", "openb_pod_list_default.csv.gz"
ASKED = 1.3
POINTS = 60
GRADIENT, OURS = "fragmentation gradient", "ours"
Curve = list[tuple[float, float]]


def read(folder: Path) -> tuple[list[Node], list[Workload]]:
    """Nodes and tasks of the trace."""
    with gzip.open(folder / NODES, "rt") as lines:
        nodes = list(openb_nodes(lines))
    with gzip.open(folder / TASKS, "rt") as lines:
        tasks = [item.work for item in openb_work(lines, "q")]
    return nodes, tasks


def asked(work: Workload) -> int:
    """Thousandths of GPUs that a task asks for."""
    shape = work.sets[0].shape
    return shape.devices * WHOLE + shape.share


def drawn(tasks: Sequence[Workload], least: float, seed: int) -> list[Workload]:
    """Tasks until they ask for so many thousandths of GPUs."""
    dice = random.Random(seed)
    chosen: list[Workload] = []
    total = 0
    while total < least:
        task = dice.choice(tasks)
        chosen.append(replace(task, id=f"{len(chosen)}", limit=None))
        total += asked(task)
    return chosen


def profile(tasks: Sequence[Workload]) -> WorkProfile:
    """How often each kind of task comes in the trace."""
    return WorkProfile.of(Counter(task.sets[0].shape for task in tasks).items())


def fill(nodes: Sequence[Node], tasks: Sequence[Workload], policy: Policy) -> Curve:
    """GPUs asked for and in use, as parts of all, as tasks come."""
    ground = Ground(table=NodeTable(), policy=policy)
    for node in nodes:
        ground.table.put(node)
    have = sum(len(node.devices) for node in nodes) * WHOLE
    gpus = tuple(sorted({node.flavour for node in nodes} - {""}))
    wanted = used = 0
    curve: Curve = [(0.0, 0.0)]
    ways: dict[object, tuple[Option, ...]] = {}
    for number, task in enumerate(tasks):
        kind = task.sets, task.flavours
        if kind not in ways:
            ways[kind] = options(task, gpus)
        wanted += asked(task)
        if place(ground, task, ways[kind]):
            used += asked(task)
        if number % (len(tasks) // POINTS) == 0:
            curve.append((wanted / have, used / have))
    curve.append((wanted / have, used / have))
    return curve


def place(ground: Ground, task: Workload, ways: Sequence[Option]) -> bool:
    """Put a task where the policy says, over the flavours that will do: the best row of all."""
    best = None
    for way in ways:
        fit = ground.fit(way.shapes[0])
        if fit.total:
            row = fit.choose()
            score = fit.score_of(row)
            if best is None or score < best[0]:
                best = score, way
    if best is None:
        return False
    return find(ground, task, best[1].shapes, best[1].counts, float("inf")) is not None


def policies(seed: int, tasks: Sequence[Workload]) -> dict[str, Callable[[], Policy]]:
    """By name."""
    return {
        "random": lambda: RandomFit(seed),
        "first fit": FirstFit,
        "best fit": BestFit,
        "pack": Pack,
        GRADIENT: lambda: FragmentationGradient(profile(tasks)),
        OURS: lambda: LookAhead(profile(tasks)),
    }


def line(name: str, allocation: float, gradient: float) -> str:
    """A JSON line."""
    return json.dumps(
        {
            "bench": "packing",
            "metric": f"openb at saturation, {name}: GPUs in use",
            "value": round(100 * allocation, 2),
            "unit": "%",
            "baseline": GRADIENT,
            "baseline_value": round(100 * gradient, 2),
            "ratio": round(allocation / gradient, 4),
        }
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Point by point."""
    return [
        (statistics.mean(p[0] for p in points), statistics.mean(p[1] for p in points))
        for points in zip(*curves, strict=False)
    ]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the trace")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--svg", type=Path, help="where to draw allocation")
    parser.add_argument("--table", action="store_true")
    told = parser.parse_args()
    nodes, tasks = read(told.data)
    have = sum(len(node.devices) for node in nodes) * WHOLE
    curves: dict[str, list[Curve]] = {}
    spent: dict[str, float] = {}
    for seed in range(told.seeds):
        work = drawn(tasks, ASKED * have, seed)
        for name, make in policies(seed, tasks).items():
            start = time.process_time()
            curves.setdefault(name, []).append(fill(nodes, work, make()))
            took = 1e6 * (time.process_time() - start) / len(work)
            spent[name] = spent.get(name, 0.0) + took / told.seeds
    ends = {name: [curve[-1][1] for curve in found] for name, found in curves.items()}
    means = {name: statistics.mean(values) for name, values in ends.items()}
    for name, value in means.items():
        print(line(name, value, means[GRADIENT]))
    if told.table:
        print("| policy | GPUs in use | least to most | unplaced GPUs | CPU a task |")
        print("|---|---|---|---|---|")
        for name, values in sorted(ends.items(), key=lambda item: means[item[0]]):
            print(
                f"| {name} | {100 * means[name]:.2f} % | {100 * min(values):.2f} to "
                f"{100 * max(values):.2f} % | {(1 - means[name]) * have / WHOLE:.0f} | "
                f"{spent[name]:.0f} µs |"
            )
    if told.svg:
        drawing = {name: mean_curve(found) for name, found in curves.items()}
        told.svg.write_text(
            svg(drawing, x="GPUs asked for / GPUs", y="GPUs in use / GPUs", low=(0.85, 0.8))
        )


if __name__ == "__main__":
    main()
