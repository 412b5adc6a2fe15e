"""The controller's scheduler, in this process's own CPU on one core, against limits.

A fleet of 10,000 nodes with 80,000 GPUs, on which 10,000 jobs run: a pass after 500 of them have
ended and 500 have come, with others waiting, and a pass after nothing. 50,000 workloads over 1,000
queues, and in one queue: how many a second are admitted, in passes between which running work
ends. Medians of passes. The ratio is that to the limit: of times at most 1 is within it, of rates
at least 1. One JSON object per line.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable

from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import WorkerSet, Workload

NODES, HELD, CHANGED, WAITING, QUEUES = 10_000, 10_000, 1_000, 1_000, 50
FLAVOURS = ("H100-SXM", "H200", "A100-80G", "L40S")
SHAPES = [(devices, cpu) for devices in (1, 2, 4, 8) for cpu in (4, 8, 12, 16)]
GANGS = (1, 2, 2, 4, 4, 8)
"""Workers of a gang: 10,000 jobs fill the fleet."""
PASSES = 7
CPU = 192_000


def fleet(nodes: int, queues: int) -> SchedulerState:
    """Nodes with eight GPUs of four flavours, and queues that share them by quotas."""
    state = SchedulerState()
    for number in range(nodes):
        state.put_node(
            Node(
                id=f"node-{number:05}",
                cpu=CPU,
                memory=2 << 20,
                devices=(FLAVOURS[number % len(FLAVOURS)],) * 8,
                domain=f"domain-{number // 8}",
                rack=f"rack-{number // 32}",
            )
        )
    each = {name: 8 * nodes * WHOLE // len(FLAVOURS) // queues for name in FLAVOURS}
    names = [f"queue-{number}" for number in range(queues)]
    state.put_queues(
        Queue(name="all"),
        *(Queue(name=name, parent="all", nominal=each) for name in names),
    )
    return state


def job(
    id_: str, queue: str, dice: random.Random, now: float, gangs: tuple[int, ...] = GANGS
) -> Workload:
    """A worker, or a gang of whole nodes, with a time limit."""
    devices, cpu = dice.choice(SHAPES)
    workers = dice.choice(gangs) if devices == 8 else 1
    shape = WorkerShape(cpu=cpu * 1000, memory=64 << 10, devices=devices)
    return Workload(
        id=id_,
        queue=queue,
        sets=(WorkerSet(shape=shape, min=workers, max=workers),),
        flavours=(dice.choice(FLAVOURS),),
        limit=dice.choice((3600.0, 7200.0, 86400.0)),
        arrival=now,
    )


def cpu(call: Callable[[], object]) -> float:
    """Seconds of this process."""
    gc.collect()
    start = time.process_time()
    call()
    return time.process_time() - start


def passes(
    nodes: int, held: int, changed: int, waiting: int, gangs: tuple[int, ...] = GANGS
) -> tuple[float, float, int]:
    """Seconds of a pass after changes, of one after none, and how much was admitted."""
    dice = random.Random(0)
    state = fleet(nodes, QUEUES)
    number = 0

    def send(count: int, now: float) -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            state.arrive(job(f"job-{number:06}", f"queue-{number % QUEUES}", dice, now, gangs))

    while len(state.allocations) < held:
        send(held - len(state.allocations), 0.0)
        schedule(state, 0.0)
        if len(state.waiting) >= waiting:
            break
    send(waiting, 1.0)
    schedule(state, 1.0)
    took, idle, admitted = [], [], []
    for turn in range(PASSES):
        now = 2.0 + turn
        for id_ in dice.sample(sorted(state.allocations), changed // 2):
            state.finish(id_, now)
        send(changed // 2, now)
        before = len(state.waiting)
        took.append(cpu(lambda now=now: schedule(state, now)))
        admitted.append(before - len(state.waiting))
        idle.append(cpu(lambda now=now: schedule(state, now)))
    print(
        f"# {len(state.allocations)} run, {len(state.waiting)} wait in "
        f"{sum(1 for _ in state.waiting.classes())} classes, {admitted} were admitted, "
        f"{[round(1000 * x) for x in took]} ms"
    )
    return statistics.median(took), statistics.median(idle), int(statistics.median(admitted))


def rate(nodes: int, workloads: int, queues: int) -> float:
    """Admissions a second, until every workload has run."""
    dice = random.Random(1)
    state = fleet(nodes, queues)
    work = [
        job(f"job-{number:06}", f"queue-{number % queues}", dice, float(number))
        for number in range(workloads)
    ]
    for item in work:
        state.arrive(item)
    spent, now = 0.0, 0.0
    while len(state.waiting):
        now += 60.0
        spent += cpu(lambda now=now: schedule(state, now))
        for id_ in dice.sample(sorted(state.allocations), len(state.allocations) // 2):
            state.finish(id_, now)
    return workloads / spent


def line(metric: str, value: float, unit: str, limit: float) -> str:
    """A JSON line."""
    return json.dumps(
        {
            "bench": "scheduler",
            "metric": metric,
            "value": round(value, 3),
            "unit": unit,
            "baseline": "limit",
            "baseline_value": limit,
            "ratio": round(value / limit, 3),
        }
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1, help="divide all numbers by this")
    small = parser.parse_args().small
    changed, idle, _ = passes(NODES // small, HELD // small, CHANGED // small, WAITING // small)
    name = f"{NODES // small:,} nodes, {HELD // small:,} held"
    print(line(f"{name}: pass after {CHANGED // small:,} changes", 1e3 * changed, "ms", 100.0))
    roomy, _, _ = passes(NODES // small, HELD // small, CHANGED // small, 0, (1,))
    metric = f"{name}, half of it free: pass after {CHANGED // small:,} changes"
    print(line(metric, 1e3 * roomy, "ms", 100.0))
    print(line(f"{name}: pass after none", 1e3 * idle, "ms", 1.0))
    for queues, least in ((1_000 // small, 2_000.0), (1, 500.0)):
        admitted = rate(NODES // small, 50_000 // small, queues)
        metric = f"{50_000 // small:,} workloads in {queues:,} queues"
        print(line(metric, admitted, "admissions/s", least))


if __name__ == "__main__":
    main()
