"""Actors that outlive the job that makes them: the same options for all. Does not import Ray."""

from __future__ import annotations

from typing import Any

NAMESPACE = "tessera"
"""Where the platform's actors have their names."""


def detached(name: str, *, cpus: float) -> dict[str, Any]:
    """Ray's options of an actor that there is one of, for as long as the cluster lives.

    Args:
        name: of the actor; one that exists is taken as it is.
        cpus: that it reserves.
    """
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "num_cpus": cpus,
    }
