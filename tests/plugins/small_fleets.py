"""Small fleets, queues and work drawn at random, and a placement by trying everything."""

from __future__ import annotations

import itertools
import math

from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import WorkerSet, Workload

FLAVOURS = ("H100", "A100")


def node(id_, devices=0, *, cpu=8, memory=64, flavour="H100", **more):
    """A node; processors and GiB."""
    return Node(id=id_, cpu=cpu * 1000, memory=memory * 1024, devices=(flavour,) * devices, **more)


def work(
    id_,
    devices=0,
    *,
    cpu=1,
    memory=1,
    workers=1,
    share=0,
    most=0,
    queue="q",
    slice_topology="",
    **more,
):
    """A gang of equal workers; processors and GiB."""
    shape = WorkerShape(
        cpu=cpu * 1000,
        memory=memory * 1024,
        devices=devices,
        share=share,
        slice_topology=slice_topology,
    )
    sets = (WorkerSet(shape=shape, min=workers, max=most or workers),)
    return Workload(id=id_, queue=queue, sets=sets, **more)


def state_of(*nodes, queues=(), policy=None):
    """A state with nodes, and with queues or the one queue `q`."""
    state = SchedulerState(policy)
    state.put_queues(*(queues or (Queue(name="q"),)))
    for item in nodes:
        state.put_node(item)
    return state


def random_nodes(random, most=4):
    """A few nodes of mixed kinds."""
    return [
        node(
            f"n{number}",
            random.choice([0, 1, 2, 3]),
            cpu=random.choice([2, 4, 8]),
            memory=random.choice([4, 16]),
            flavour=random.choice(FLAVOURS),
            domain=random.choice(["", "d1", "d2"]),
            labels={"zone": random.choice("xy")},
        )
        for number in range(random.randint(1, most))
    ]


def random_queues(random):
    """A branch with two queues; quotas of some resources, or of none."""
    limited = random.sample(["cpu", *FLAVOURS], random.randint(0, 2))

    def amounts(*choices):
        return {name: random.choice(choices) * 1000 for name in limited}

    def queue(name):
        return Queue(
            name=name,
            parent="all",
            nominal=amounts(0, 2, 4),
            borrowing=amounts(0, 2) if random.random() < 0.3 else {},
            lending=amounts(0, 1) if random.random() < 0.3 else {},
            weight=random.choice([1.0, 2.0]),
        )

    return (Queue(name="all", nominal=amounts(0, 1)), queue("a"), queue("b"))


def random_work(random, id_, arrival):
    """A gang that a small fleet may hold, or not."""
    kind = random.choice(["cpu", "whole", "whole", "share"])
    shape = WorkerShape(
        cpu=random.choice([0, 1000, 2000, 3000]),
        memory=random.choice([0, 1024, 4096]),
        devices=random.choice([1, 1, 2]) if kind == "whole" else 0,
        share=random.choice([250, 500, 600]) if kind == "share" else 0,
        labels=(("zone", "x"),) if random.random() < 0.1 else (),
    )
    count = random.choice([1, 1, 1, 2, 3])
    sets = [WorkerSet(shape=shape, min=count, max=count + random.choice([0, 0, 1]))]
    if random.random() < 0.15:
        sets.append(WorkerSet(name="other", shape=WorkerShape(cpu=1000)))
    return Workload(
        id=id_,
        queue=random.choice("ab"),
        sets=tuple(sets),
        flavours=random.choice([(), ("H100",), ("A100",), ("A100", "H100")]),
        priority=random.choice([0, 0, 1, 2]),
        preemptible=random.random() < 0.5,
        min_runtime=random.choice([0.0, 20.0]),
        limit=random.choice([None, 10.0, 50.0, 100.0]),
        level=random.choice([None, None, None, "host", "domain"]),
        arrival=arrival,
    )


def placeable(state: SchedulerState, item: Workload, now: float) -> bool:
    """Whether work could start beside what is set aside, found by trying everything."""
    table = state.table
    ends = math.inf if item.limit is None else now + item.limit
    rows = {}
    for name, row in table.rows.items():
        lent = math.isfinite(ends) and table.kept_until[row] >= ends
        less = 0 if lent else 1
        rows[name] = [
            int(table.free.cpu[row] - less * table.kept.cpu[row]),
            int(table.free.memory[row] - less * table.kept.memory[row]),
            (table.free.devices[row] - less * table.kept.devices[row]).tolist(),
        ]
    nodes = {name: table.node(row) for name, row in table.rows.items()}
    flavours = item.flavours or tuple(sorted(table.flavours)) if item.wants_devices else ("",)
    return any(
        _quota(state, item, flavour) and _placed(nodes, rows, _workers(item), flavour, item.level)
        for flavour in flavours
    )


def _workers(item):
    return [entry.shape for entry in item.sets for _ in range(entry.min)]


def _quota(state, item, flavour):
    amounts = {}
    for shape in _workers(item):
        amounts["cpu"] = amounts.get("cpu", 0) + shape.cpu
        amounts["memory"] = amounts.get("memory", 0) + shape.memory
        if flavour:
            taken = shape.devices * WHOLE + shape.share
            amounts[flavour] = amounts.get(flavour, 0) + taken
    return state.quotas.shortage(item.queue, amounts) is None


def _placed(nodes, rows, shapes, flavour, level):
    places = {
        name: name if level == "host" else item.domain if level == "domain" else "all"
        for name, item in nodes.items()
    }
    return any(
        _all_placed(
            {name: nodes[name] for name in nodes if places[name] == place}, rows, shapes, flavour
        )
        for place in set(places.values()) - {""}
    )


def _all_placed(nodes, rows, shapes, flavour):
    if not shapes:
        return True
    shape = shapes[0]
    for name, item in nodes.items():
        cpu, memory, devices = rows[name]
        labels = all(item.labels.get(key) == value for key, value in shape.labels)
        if not item.usable or not labels or cpu < shape.cpu or memory < shape.memory:
            continue
        need = shape.share or WHOLE
        mine = [
            number
            for number, kind in enumerate(item.devices)
            if kind == flavour and devices[number] >= need
        ]
        count = shape.devices or bool(shape.share)
        for chosen in itertools.combinations(mine, count):
            left = [free - need * (number in chosen) for number, free in enumerate(devices)]
            after = {**rows, name: [cpu - shape.cpu, memory - shape.memory, left]}
            if _all_placed(nodes, after, shapes[1:], flavour):
                return True
    return False
