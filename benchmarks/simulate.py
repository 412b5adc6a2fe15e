"""Runs the controller's scheduler under a simulated clock and fleet, and says how it went.

    python benchmarks/simulate.py [--seed N] [--faults] [--svg FILE] [--data FOLDER [--tasks N]]

Without a folder the load is drawn from the seed: 64 nodes with eight GPUs, three queues, limits
that are estimates. With one it is the openb trace, its time kept, its first N tasks. Prints one
JSON object per line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

from line_chart import svg
from tessera.controller.scheduling.queue import Queue
from tessera.controller.simulator.faults import Faults
from tessera.controller.simulator.load import Scenario, openb_nodes, openb_work, synthetic
from tessera.controller.simulator.simulation import Simulation, shares_of

QUEUES = {"research": 0.5, "product": 0.3, "students": 0.2}
AUDITED = 100
"""Nodes up to which each step is audited."""
FAULTS = Faults(
    node_mtbf=30 * 86_400.0,
    node_repair=3600.0,
    job_failure=0.05,
    forgotten=0.01,
    graceless=0.2,
)


def trace(folder: Path, tasks: int) -> Scenario:
    """The openb trace, in one queue."""
    with gzip.open(folder / "openb_node_list_all_node.csv.gz", "rt") as lines:
        nodes = tuple(openb_nodes(lines))
    with gzip.open(folder / "openb_pod_list_default.csv.gz", "rt") as lines:
        work = sorted(openb_work(lines, "all"), key=lambda item: item.work.arrival)
    return Scenario(nodes=nodes, queues=(Queue(name="all"),), work=tuple(work[:tasks]))


def main() -> None:
    """Simulate, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="nodes die, jobs fail")
    parser.add_argument("--data", type=Path, help="the folder of the openb trace")
    parser.add_argument("--tasks", type=int, default=2000, help="of the trace")
    parser.add_argument("--svg", type=Path, help="where to draw utilisation")
    told = parser.parse_args()
    if told.data:
        scenario = trace(told.data, told.tasks)
    else:
        scenario = synthetic(told.seed, nodes=64, jobs=1500, queues=QUEUES, load=1.2)
    faults = FAULTS if told.faults else Faults()
    simulation = Simulation(
        scenario, seed=told.seed, faults=faults, audit=len(scenario.nodes) < 100
    )
    start = time.process_time()
    measures = simulation.run()
    report = {
        **measures.report(shares_of(scenario)),
        "simulated_days": simulation.clock.now / 86_400,
        "cpu_seconds": time.process_time() - start,
    }
    units = {"wait_p50": "s", "wait_p99": "s", "simulated_days": "d", "cpu_seconds": "s"}
    for metric, value in report.items():
        unit = units.get(metric, "")
        print(
            json.dumps(
                {"bench": "simulate", "metric": metric, "value": round(value, 4), "unit": unit}
            )
        )
    if told.svg:
        points = measures.samples[:: max(1, len(measures.samples) // 400)]
        lines = {
            "GPUs in use": [(at / 3600, used / have) for at, used, have, _ in points if have],
            "free on broken GPUs": [
                (at / 3600, broken / have) for at, _, have, broken in points if have
            ],
        }
        told.svg.write_text(svg(lines, x="hours", y="of all GPUs", low=(0.0, 0.0)))


if __name__ == "__main__":
    main()
