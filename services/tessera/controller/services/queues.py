"""QueueService: in which queues work waits, and what their quotas are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import queue_pb2 as pb
from tessera.api.controller.v1 import queue_pb2_grpc as pb_grpc
from tessera.controller.policy.figures import QueueFigures, queue_figures
from tessera.controller.policy.quantities import amounts_of, shown_of
from tessera.controller.policy.records import StoredQueue
from tessera.controller.runtime import Runtime, scope
from tessera.controller.scheduling.queue import Queue
from tessera.controller.signals import ADMISSION
from tessera.controller.store import queues as store
from tessera.rpc.principal import current_principal


class QueueService(pb_grpc.QueueServiceServicer):
    """Queues for people and tools."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListQueues(
        self, request: pb.ListQueuesRequest, context: Any
    ) -> pb.ListQueuesResponse:
        """Every queue that the caller may use, by name."""
        del request, context
        tenant = scope(current_principal())
        found = await self._runtime.database.read(store.every)
        usable = [
            item for item in found if tenant is None or not item.tenants or tenant in item.tenants
        ]
        figures = await self._figures()
        return pb.ListQueuesResponse(
            queues=[_shown(item, figures.get(item.queue.name)) for item in usable]
        )

    async def PutQueue(self, request: pb.PutQueueRequest, context: Any) -> pb.PutQueueResponse:
        """Add a queue, or change it."""
        del context
        with errors.within("queue"):
            new = _stored(request.queue)
        stored = await self._runtime.database.write(store.put, new)
        self._runtime.signals.wake(ADMISSION)
        figures = await self._figures()
        return pb.PutQueueResponse(queue=_shown(stored, figures.get(stored.queue.name)))

    async def DeleteQueue(
        self, request: pb.DeleteQueueRequest, context: Any
    ) -> pb.DeleteQueueResponse:
        """Forget a queue that nobody uses."""
        del context
        await self._runtime.database.write(store.delete, request.name)
        self._runtime.signals.wake(ADMISSION)
        return pb.DeleteQueueResponse()

    async def _figures(self) -> Mapping[str, QueueFigures]:
        scheduler = self._runtime.scheduler
        return await scheduler.run(queue_figures, time.time()) if scheduler.ready else {}


def _stored(asked: pb.Queue) -> StoredQueue:
    """A queue in the scheduler's units.

    Raises:
        InvalidArgumentError: a resource has a name that is none (INVALID_FIELD).
    """
    return StoredQueue(
        queue=Queue(
            name=asked.name,
            parent=asked.parent,
            nominal=amounts_of(asked.nominal, "nominal"),
            borrowing=amounts_of(asked.borrowing_limit, "borrowing_limit"),
            lending=amounts_of(asked.lending_limit, "lending_limit"),
            weight=asked.weight if asked.HasField("weight") else 1.0,
        ),
        tenants=tuple(asked.tenants),
    )


def _shown(item: StoredQueue, figures: QueueFigures | None) -> pb.Queue:
    queue, now = item.queue, figures or QueueFigures()
    return pb.Queue(
        name=queue.name,
        parent=queue.parent,
        nominal=shown_of(queue.nominal),
        borrowing_limit=shown_of(queue.borrowing),
        lending_limit=shown_of(queue.lending),
        weight=queue.weight,
        tenants=item.tenants,
        used=shown_of(now.used),
        waiting=now.waiting,
        running=now.running,
        share=now.share,
    )
