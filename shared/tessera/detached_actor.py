"""Actors that outlive the job that makes them: the same options for all. Does not import Ray."""

from __future__ import annotations

from typing import Any

NAMESPACE = "tessera"
"""Where the platform's actors have their names."""


NODE_ID, NODE_GROUP = "ray.io/node-id", "ray.io/node-group"
"""Labels that Ray puts on every node."""


def detached(name: str, *, cpus: float, memory: int = 0, node: str = "") -> dict[str, Any]:
    """Ray's options of an actor that there is one of, for as long as the cluster lives.

    Args:
        name: of the actor; one that exists is taken as it is.
        cpus: that it reserves.
        memory: that it reserves, in bytes; 0: none.
        node: where it was placed: Ray's id of a node, or `group=NAME` for any of a node group.
            While there is no such node, it is made elsewhere. Empty: anywhere.
    """
    group = node.removeprefix("group=")
    place = {NODE_GROUP: group} if group != node else {NODE_ID: node}
    where: dict[str, Any] = {
        "label_selector": place,
        # A node that is gone must not keep the actor from coming back.
        "fallback_strategy": [{"label_selector": {}}],
    }
    return {
        **(where if node else {}),
        **({"memory": memory} if memory else {}),
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "num_cpus": cpus,
    }
