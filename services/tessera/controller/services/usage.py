"""UsageService: what jobs have held, and for how long."""

from __future__ import annotations

import time
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import usage_pb2 as pb
from tessera.api.controller.v1 import usage_pb2_grpc as pb_grpc
from tessera.controller.policy.records import Consumption
from tessera.controller.runtime import Runtime, scope
from tessera.controller.store import consumption as store
from tessera.rpc.principal import current_principal


class UsageService(pb_grpc.UsageServiceServicer):
    """Usage for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListUsage(self, request: pb.ListUsageRequest, context: Any) -> pb.ListUsageResponse:
        """Sums of what was held, the largest first."""
        del context
        since = request.since.ToMicroseconds() / 1e6 if request.HasField("since") else 0.0
        until = request.until.ToMicroseconds() / 1e6 if request.HasField("until") else time.time()
        if since >= until:
            raise errors.InvalidArgumentError.at(
                "since", "it must be before `until`", "INVALID_FIELD"
            )
        keys = dict.fromkeys(pb.UsageKey.Name(key) for key in request.by)
        found = await self._runtime.database.read(
            store.sums,
            tenant=scope(current_principal()),
            by=[key.removeprefix("USAGE_KEY_").lower() for key in keys],
            since=since,
            until=until,
        )
        return pb.ListUsageResponse(
            rows=[_shown(item) for item in found[: store.MOST_ROWS]],
            truncated=len(found) > store.MOST_ROWS,
        )


def _shown(item: Consumption) -> pb.UsageRow:
    return pb.UsageRow(
        tenant=item.tenant,
        queue=item.queue,
        owner=item.owner,
        job=item.job,
        accelerator=item.accelerator,
        accelerator_seconds=item.accelerator_seconds,
        cpu_seconds=item.cpu_seconds,
        memory_gib_seconds=item.memory_gib_seconds,
        attempts=item.attempts,
    )
