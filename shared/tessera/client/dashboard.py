"""Pages of the Ray dashboard of a pool. A browser asks for the cluster's token once."""

from __future__ import annotations

from collections.abc import Mapping

from tessera.api.controller.v1 import registry_pb2


def job_page(dashboard: str, submission: str) -> str:
    """Of an attempt: its driver's output, its actors; empty where either is not known.

    Args:
        dashboard: URL of the pool's dashboard.
        submission: id of the attempt's submission.
    """
    return _page(dashboard, "jobs", submission)


def actor_page(dashboard: str, actor: str) -> str:
    """Of a replica, a shard or the coordinator; empty where either is not known.

    Args:
        dashboard: URL of the pool's dashboard.
        actor: its id, which its endpoint has as the label `actor`.
    """
    return _page(dashboard, "actors", actor)


def actor_of(endpoint: registry_pb2.Endpoint) -> str:
    """Id of an endpoint's actor; empty where it is none."""
    labels: Mapping[str, str] = endpoint.labels
    return labels.get("actor", "")


def _page(dashboard: str, kind: str, name: str) -> str:
    return f"{dashboard.rstrip('/')}/#/{kind}/{name}" if dashboard and name else ""
