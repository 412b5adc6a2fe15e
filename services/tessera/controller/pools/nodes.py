"""Ray's nodes as the scheduler knows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tessera.accelerator import ANY, resource_of
from tessera.controller.policy.demand import MIB, Amounts, add
from tessera.controller.policy.records import StoredGroup, StoredWorker
from tessera.controller.scheduling.node import POOL_LABEL, UNKNOWN_MEMORY, Node, NodeGroup
from tessera.controller.scheduling.shape import CPU, MEMORY, WHOLE
from tessera.detached_actor import NODE_GROUP, NODE_ID

ACCELERATOR = "ray.io/accelerator-type"
SLICE_NAME = "ray.io/tpu-slice-name"
SLICE_TOPOLOGY = "ray.io/tpu-topology"
CLIQUE = "nvidia.com/gpu.clique"
RACK = "topology.kubernetes.io/rack"
_TYPED = "accelerator_type:"


def of_ray(pool: str, rows: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """The live nodes of a pool, by id.

    Args:
        pool: whose they are.
        rows: of Ray's state API: `node_id`, `state`, `resources_total`, `labels`.

    Raises:
        KeyError, TypeError, ValueError: they are built otherwise than Ray's.
    """
    alive = [row for row in rows if row["state"] == "ALIVE"]
    return tuple(sorted((_node(pool, row) for row in alive), key=lambda node: node.id))


def _node(pool: str, row: Mapping[str, Any]) -> Node:
    resources: Mapping[str, float] = row["resources_total"]
    labels = {str(name): str(value) for name, value in (row.get("labels") or {}).items()}
    memory = resources.get("memory")
    return Node(
        id=str(row["node_id"]),
        pool=pool,
        cpu=int(float(resources.get("CPU", 0.0)) * WHOLE),
        memory=UNKNOWN_MEMORY if memory is None else int(float(memory)) // MIB,
        devices=_devices(resources, labels),
        labels={**labels, POOL_LABEL: pool},
        rack=_within(pool, labels.get(RACK, "")),
        domain=_within(pool, labels.get(CLIQUE, "")),
        slice_name=_within(pool, labels.get(SLICE_NAME, "")),
        slice_topology=labels.get(SLICE_TOPOLOGY, "") if labels.get(SLICE_NAME) else "",
        group=_within(pool, labels.get(NODE_GROUP, "")),
    )


def group_of(stored: StoredGroup) -> NodeGroup:
    """A group as the scheduler knows it."""
    labels = {**stored.labels, NODE_GROUP: stored.name}
    row = {"node_id": stored.name, "resources_total": stored.resources, "labels": labels}
    template = _node(stored.pool, row)
    sliced = labels.get(SLICE_TOPOLOGY, "")
    return NodeGroup(
        name=template.group,
        template=replace(template, slice_topology=sliced),
        min=stored.min,
        max=stored.max,
    )


def selector(worker: StoredWorker) -> dict[str, str]:
    """The labels by which Ray finds the node of a worker, or makes it."""
    if worker.group:
        return {NODE_GROUP: worker.group.partition("/")[2]}
    return {NODE_ID: worker.node}


def _devices(resources: Mapping[str, float], labels: Mapping[str, str]) -> tuple[str, ...]:
    """The flavour of each device: of whole ones, as Ray counts them."""
    named = labels.get(ACCELERATOR, "")
    typed = sorted(name.removeprefix(_TYPED) for name in resources if name.startswith(_TYPED))
    found: list[str] = []
    for kind in ("GPU", "TPU"):
        count = int(float(resources.get(kind, 0.0)))
        flavours = [name for name in (named, *typed) if name and kind == resource_of(name)]
        found += [flavours[0] if flavours else kind] * count
    return tuple(found)


def _within(pool: str, name: str) -> str:
    """A name that is no other pool's."""
    return f"{pool}/{name}" if name else ""


def resources_of(node: Node) -> dict[str, float]:
    """What a node has in all, in Ray's names."""
    found = {"CPU": node.cpu / WHOLE}
    if node.memory < UNKNOWN_MEMORY:
        found["memory"] = float(node.memory * MIB)
    for flavour in node.devices:
        kind = resource_of(flavour)
        found[kind] = found.get(kind, 0.0) + 1.0
    for flavour in {*node.devices} - ANY:
        found[f"{_TYPED}{flavour}"] = 1.0
    return found


def total_of(nodes: Sequence[Node]) -> dict[str, float]:
    """What nodes have in all, in Ray's names."""
    return add(*(resources_of(node) for node in nodes))


def less(nodes: Sequence[Node], foreign: Amounts) -> tuple[Node, ...]:
    """Nodes without what others are declared to use, which is taken where there is most of it.

    Nobody has said on which nodes that is; devices are taken whole.
    """
    if not any(foreign.values()):
        return tuple(nodes)
    found = list(nodes)
    for name, unit in (("CPU", CPU), ("memory", MEMORY), ("GPU", "GPU"), ("TPU", "TPU")):
        left = float(foreign.get(name, 0.0))
        while left > 0 and found:
            place = max(range(len(found)), key=lambda n: (_amount(found[n], unit), -n))
            if not (most := _amount(found[place], unit)):
                break
            taken = min(left, most)
            found[place] = _without(found[place], unit, taken)
            left -= taken
    return tuple(found)


def _amount(node: Node, unit: str) -> float:
    if unit == CPU:
        return node.cpu / WHOLE
    if unit == MEMORY:
        return 0.0 if node.memory >= UNKNOWN_MEMORY else float(node.memory * MIB)
    return sum(resource_of(flavour) == unit for flavour in node.devices)


def _without(node: Node, unit: str, amount: float) -> Node:
    if unit == CPU:
        return replace(node, cpu=node.cpu - int(amount * WHOLE))
    if unit == MEMORY:
        return replace(node, memory=node.memory - int(amount) // MIB)
    devices, left = list(node.devices), amount
    for place in reversed(range(len(devices))):
        if left > 0 and resource_of(devices[place]) == unit:
            del devices[place]
            left -= 1
    return replace(node, devices=tuple(devices))
