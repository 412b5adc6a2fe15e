"""How a deployment stands, judged by the replicas that are registered: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import Endpoint

FAILURES = 3
"""Failed tries in a row after which a deployment counts as failed; it is still tried again."""


class DeploymentState(Enum):
    """Where a deployment stands."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What callers see; `version` is 0 while the replicas serve none or different ones."""

    state: DeploymentState
    message: str = ""
    ready: int = 0
    version: int = 0


def status(
    deployment: Deployment, replicas: Sequence[Endpoint], ensure: EnsureJob | None
) -> Status:
    """The status of a deployment.

    Args:
        deployment: what is desired.
        replicas: its live endpoints.
        ensure: the newest ensure job, if there was one.
    """
    if deployment.deleting:
        return Status(state=DeploymentState.DELETING, message="Its replicas are ending.")
    ready = [endpoint for endpoint in replicas if endpoint.labels.get("state") == "active"]
    versions = {_version(endpoint) for endpoint in ready}
    troubles = [text for endpoint in replicas if (text := endpoint.labels.get("message", ""))]
    wanted = deployment.demand.workers
    if ready:
        few = f"{len(ready)} of {wanted} replicas serve." if len(ready) < wanted else ""
        return Status(
            state=DeploymentState.READY,
            message=" ".join([few, *troubles[:1]]).strip(),
            ready=len(ready),
            version=versions.pop() if len(versions) == 1 else 0,
        )
    if ensure is not None and ensure.failures >= FAILURES:
        return Status(state=DeploymentState.FAILED, message=ensure.message)
    reasons = [*(reason.message for reason in deployment.waiting), *troubles]
    if ensure is not None and ensure.message:
        reasons.append(ensure.message)
    message = next(iter(reasons), "Its replicas are starting.")
    return Status(state=DeploymentState.PENDING, message=message)


def _version(endpoint: Endpoint) -> int:
    text = endpoint.labels.get("version", "0")
    return int(text) if text.isdecimal() else 0
