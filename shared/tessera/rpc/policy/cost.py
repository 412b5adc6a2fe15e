"""What a call may cost: the bytes of a message, and whether it makes something that stays. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MIB = 1024 * 1024

MESSAGE_BYTES = 4 * MIB
"""Of a message that a server takes, unless the method has a row below."""

_BATCH_BYTES = 16 * MIB
"""Of texts: clients fill requests up to 4 MiB, but a single text may be longer."""

LARGER: dict[str, int] = {
    # Every tensor's name, shape and dtype, and the assets: a tokenizer may have tens of MiB.
    "/tessera.api.parameters.v1.CoordinatorService/OpenVersion": 64 * MIB,
    # An item for each box of a slice: a checkpoint of many layers, experts and ranks.
    "/tessera.api.parameters.v1.ShardDataService/PullSlices": 16 * MIB,
} | {
    f"/tessera.api.inference.v1.InferenceService/{method}": _BATCH_BYTES
    for method in ("Generate", "Translate", "Classify", "FillMask", "Answer", "Embed", "Score")
}
"""Bytes of a message, of methods that need more than `MESSAGE_BYTES`."""

MAKES = frozenset(
    f"/tessera.api.{method}"
    for method in (
        "controller.v1.JobService/CreateJob",
        "controller.v1.DeploymentService/CreateDeployment",
        "controller.v1.AccessService/CreateTenant",
        "controller.v1.AccessService/CreateToken",
        "controller.v1.PoolService/RegisterPool",
        "controller.v1.BlobService/PutBlob",
        "parameters.v1.CoordinatorService/AcquireWriter",
        "parameters.v1.CoordinatorService/OpenVersion",
        "parameters.v1.CoordinatorService/PinVersion",
    )
)
"""Calls after which there is more than before, in a database or on a disk: they have a rate."""


def message_bytes(method: str) -> int:
    """Bytes of the largest message that a method takes."""
    return LARGER.get(method, MESSAGE_BYTES)


def largest(methods: Iterable[str]) -> int:
    """Bytes of the largest message that a server of these methods takes."""
    return max(map(message_bytes, methods), default=MESSAGE_BYTES)
