"""Fleets and work for simulations: drawn from a seed, or read from the openb trace. Pure."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import WorkerSet, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWork:
    """Work, and what only the simulation knows of it.

    `duration` is how long it really takes, in seconds, whatever its limit says.
    """

    work: Workload
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fleet, its queues, and the work that is sent, in order of arrival."""

    nodes: tuple[Node, ...]
    queues: tuple[Queue, ...]
    work: tuple[SimulatedWork, ...] = field(default=())


def openb_nodes(lines: Iterable[str]) -> Iterator[Node]:
    """The nodes of `openb_node_list_*.csv`; a GPU model is a flavour."""
    for row in csv.DictReader(lines):
        yield Node(
            id=row["sn"],
            cpu=int(row["cpu_milli"]),
            memory=int(row["memory_mib"]),
            devices=(row["model"],) * int(row["gpu"]),
        )


def openb_work(lines: Iterable[str], queue: str) -> Iterator[SimulatedWork]:
    """The tasks of `openb_pod_list_*.csv`, each with a worker on whole GPUs or on a share of one.

    A task that says no model takes any; its limit is the time that it took.
    """
    for row in csv.DictReader(lines):
        devices, share = int(row["num_gpu"]), int(row["gpu_milli"])
        whole = devices > 1 or share >= WHOLE
        shape = WorkerShape(
            cpu=int(row["cpu_milli"]),
            memory=int(row["memory_mib"]),
            devices=devices if whole else 0,
            share=0 if whole or not devices else share,
        )
        arrival = float(row["creation_time"])
        started = float(row["scheduled_time"] or arrival)
        duration = max(1.0, float(row["deletion_time"] or started + 1) - started)
        work = Workload(
            id=row["name"],
            queue=queue,
            sets=(WorkerSet(shape=shape),),
            flavours=tuple(model for model in row["gpu_spec"].split("|") if model),
            limit=duration,
            arrival=arrival,
        )
        yield SimulatedWork(work=work, duration=duration)


def synthetic(
    seed: int,
    *,
    nodes: int,
    jobs: int,
    queues: Mapping[str, float],
    load: float = 1.0,
    flavours: tuple[str, ...] = ("H100", "A100"),
) -> Scenario:
    """Nodes with eight GPUs, and jobs that ask for `load` times as much as there is.

    Args:
        seed: of all that is drawn.
        nodes: how many.
        jobs: how many, sent over as long a time as makes the load.
        queues: by name, the part of the fleet that is each one's own.
        load: device-seconds asked for, beside those that there are.
        flavours: of the GPUs.
    """
    dice = random.Random(seed)  # noqa: S311
    fleet = tuple(
        Node(
            id=f"n{number:04}",
            cpu=96_000,
            memory=1 << 20,
            devices=(flavours[number % len(flavours)],) * 8,
            domain=f"d{number // 4}",
            rack=f"r{number // 8}",
        )
        for number in range(nodes)
    )
    each = 8 * nodes // len(flavours) * WHOLE
    tree = [Queue(name="all")] + [
        Queue(name=name, parent="all", nominal={f: int(each * part) for f in flavours}, weight=part)
        for name, part in queues.items()
    ]
    drawn = [_job(dice, number, tuple(queues), flavours) for number in range(jobs)]
    asked = sum(each_job[1] * _devices(each_job[0]) for each_job in drawn)
    span = asked / (8 * nodes * load)
    arrivals = sorted(dice.uniform(0.0, span) for _ in drawn)
    work = tuple(
        SimulatedWork(work=_arriving(item, arrival), duration=duration)
        for (item, duration), arrival in zip(drawn, arrivals, strict=True)
    )
    return Scenario(nodes=fleet, queues=tuple(tree), work=work)


def _devices(work: Workload) -> float:
    return sum(s.min * (s.shape.devices + s.shape.share / WHOLE) for s in work.sets)


def _job(
    dice: random.Random, number: int, queues: tuple[str, ...], flavours: tuple[str, ...]
) -> tuple[Workload, float]:
    """A job whose limit is an estimate: mostly too high, now and then too low."""
    devices = dice.choice((0, 1, 1, 1, 2, 4, 8))
    workers = dice.choice((1, 1, 2, 4)) if devices == 8 else 1  # noqa: PLR2004
    duration = min(86_400.0, dice.lognormvariate(7.0, 1.3))
    shape = WorkerShape(
        cpu=4000 * max(1, devices),
        memory=16384 * max(1, devices),
        devices=devices,
        share=0 if devices else dice.choice((250, 500)),
    )
    work = Workload(
        id=f"j{number:05}",
        queue=dice.choice(queues),
        user=f"u{dice.randrange(8)}",
        sets=(WorkerSet(shape=shape, min=workers, max=workers),),
        flavours=dice.choice(((), flavours[:1], flavours)),
        priority=dice.choice((0, 0, 0, 1)),
        min_runtime=300.0,
        limit=dice.choice((None, duration * dice.choice((0.8, 1.2, 2.0, 4.0)))),
    )
    return work, duration


def _arriving(work: Workload, arrival: float) -> Workload:
    return replace(work, arrival=arrival)
