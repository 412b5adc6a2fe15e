"""What a call may cost: the bytes of a message, and whether it makes something that stays. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MIB = 1024 * 1024

_MOST = 64 * MIB
"""What a client sends at most: `tessera.rpc.channel`."""

LARGER: dict[str, str] = {
    "/tessera.api.parameters.v1.CoordinatorService/OpenVersion": "version_bytes",
    "/tessera.api.parameters.v1.ShardService/RecordVersion": "version_bytes",
    "/tessera.api.parameters.v1.ShardService/CopyPieces": "version_bytes",
    "/tessera.api.parameters.v1.ShardDataService/PullSlices": "pull_bytes",
} | {
    f"/tessera.api.inference.v1.InferenceService/{method}": "text_bytes"
    for method in ("Generate", "Translate", "Classify", "FillMask", "Answer", "Embed", "Score")
}
"""Methods that may need more than `MessageLimits.bytes`, and the field that says how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimits:
    """Bytes of a message that a server takes; no less than its clients fill.

    Args:
        bytes: of any method that is not below.
        text_bytes: of texts to a model. Clients fill requests up to 4 MiB, but a single text may be
            longer.
        version_bytes: of the list of a version's tensors, with their assets: a tokenizer may have
            tens of MiB.
        pull_bytes: of the list of what is pulled: an item for each box of a slice, of many layers,
            experts and ranks.
    """

    bytes: int = field(default=4 * MIB, metadata={"least": 4 * MIB, "most": _MOST})
    text_bytes: int = field(default=16 * MIB, metadata={"least": 8 * MIB, "most": _MOST})
    version_bytes: int = field(default=64 * MIB, metadata={"least": 4 * MIB, "most": _MOST})
    pull_bytes: int = field(default=16 * MIB, metadata={"least": 4 * MIB, "most": _MOST})

    def of(self, method: str) -> int:
        """Bytes of the largest message that a method takes."""
        own: int = getattr(self, LARGER.get(method, "bytes"))
        return max(own, self.bytes)

    def largest(self, methods: Iterable[str]) -> int:
        """Bytes of the largest message that a server of these methods takes."""
        return max(map(self.of, methods), default=self.bytes)


MAKES = frozenset(
    f"/tessera.api.{method}"
    for method in (
        "controller.v1.JobService/CreateJob",
        "controller.v1.DeploymentService/CreateDeployment",
        "controller.v1.AccessService/CreateTenant",
        "controller.v1.AccessService/CreateToken",
        "controller.v1.PoolService/RegisterPool",
        "controller.v1.QueueService/PutQueue",
        "controller.v1.BlobService/PutBlob",
        "parameters.v1.CoordinatorService/AcquireWriter",
        "parameters.v1.CoordinatorService/OpenVersion",
        "parameters.v1.CoordinatorService/PinVersion",
    )
)
"""Calls after which there is more than before, in a database or on a disk: they have a rate."""
