"""How a deployment stands, judged by the replicas that are registered. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import Endpoint

FAILURES = 3
"""Failed tries in a row after which a deployment counts as failed; it is still tried again."""

NO_HOPE = frozenset({"EXCEEDS_EVERY_POOL"})
"""Reasons to wait that waiting does not mend."""


class DeploymentState(Enum):
    """Where a deployment stands."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """What callers see; `version` is 0 while the replicas serve none or different ones."""

    state: DeploymentState
    message: str = ""
    ready: int = 0
    failed: int = 0
    version: int = 0


def status(
    deployment: Deployment, replicas: Sequence[Endpoint], ensure: EnsureJob | None
) -> DeploymentStatus:
    """The status of a deployment.

    Args:
        deployment: what is desired.
        replicas: its live endpoints.
        ensure: the newest ensure job, if there was one.
    """
    if deployment.deleting:
        return DeploymentStatus(state=DeploymentState.DELETING, message="Its replicas are ending.")
    ready, failed, rest = _sorted(replicas)
    troubles = [text for each in (*failed, *rest, *ready) if (text := _message(each))]
    if ready:
        return _serves(deployment, ready, len(failed), troubles)
    hopeless = [reason.message for reason in deployment.waiting if reason.code in NO_HOPE]
    if failed and not rest:
        hopeless += troubles
    if ensure is not None and ensure.failures >= FAILURES:
        hopeless.append(ensure.message)
    if hopeless:
        return DeploymentStatus(
            state=DeploymentState.FAILED, message=hopeless[0], failed=len(failed)
        )
    reasons = [*(reason.message for reason in deployment.waiting), *troubles]
    if ensure is not None and ensure.message:
        reasons.append(ensure.message)
    message = next(iter(reasons), "Its replicas are starting.")
    return DeploymentStatus(state=DeploymentState.PENDING, message=message, failed=len(failed))


def _serves(
    deployment: Deployment, ready: Sequence[Endpoint], failed: int, troubles: Sequence[str]
) -> DeploymentStatus:
    wanted = deployment.demand.workers
    versions = {_version(endpoint) for endpoint in ready}
    few = f"{len(ready)} of {wanted} replicas serve." if len(ready) < wanted else ""
    return DeploymentStatus(
        state=DeploymentState.READY,
        message=" ".join([few, *troubles[:1]]).strip(),
        ready=len(ready),
        failed=failed,
        version=versions.pop() if len(versions) == 1 else 0,
    )


def _sorted(
    replicas: Sequence[Endpoint],
) -> tuple[list[Endpoint], list[Endpoint], list[Endpoint]]:
    """Replicas that serve, that can never serve, and all others."""
    by_state: dict[str, list[Endpoint]] = {"active": [], "failed": []}
    rest: list[Endpoint] = []
    for endpoint in replicas:
        by_state.get(endpoint.labels.get("state", ""), rest).append(endpoint)
    return by_state["active"], by_state["failed"], rest


def _message(endpoint: Endpoint) -> str:
    return endpoint.labels.get("message", "")


def _version(endpoint: Endpoint) -> int:
    text = endpoint.labels.get("version", "0")
    return int(text) if text.isdecimal() else 0
