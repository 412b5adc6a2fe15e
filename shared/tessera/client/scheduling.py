"""Queues, nodes, why jobs wait, and what they have held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from tessera.api.controller.v1 import job_pb2, node_pb2, queue_pb2, usage_pb2
from tessera.api.controller.v1.job_pb2_grpc import JobServiceStub
from tessera.api.controller.v1.node_pb2_grpc import NodeServiceStub
from tessera.api.controller.v1.queue_pb2_grpc import QueueServiceStub
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.api.controller.v1.usage_pb2_grpc import UsageServiceStub
from tessera.client.connection import Connection
from tessera.rpc.pages import every_page


class Scheduling:
    """What the scheduler knows of a platform.

    Args:
        connection: to the controller.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queues: Any = QueueServiceStub(connection.channel)
        self._nodes: Any = NodeServiceStub(connection.channel)
        self._jobs: Any = JobServiceStub(connection.channel)
        self._usage: Any = UsageServiceStub(connection.channel)

    def queues(self) -> list[queue_pb2.Queue]:
        """The queues that the caller may use, by name; all for an operator."""
        request = queue_pb2.ListQueuesRequest()
        return list(self._connection.call(self._queues.ListQueues, request).queues)

    def put_queue(self, queue: queue_pb2.Queue) -> queue_pb2.Queue:
        """Add a queue, or change it; for operators.

        Raises:
            NotFoundError: its parent is none (QUEUE_NOT_FOUND).
            FailedPreconditionError: it would hang on itself (QUEUE_CYCLE), or on a queue in which
                work waits or runs (QUEUE_IN_USE).
        """
        request = queue_pb2.PutQueueRequest(queue=queue)
        stored: queue_pb2.Queue = self._connection.call(self._queues.PutQueue, request).queue
        return stored

    def delete_queue(self, name: str) -> None:
        """Forget a queue; for operators.

        Raises:
            NotFoundError: there is none (QUEUE_NOT_FOUND).
            FailedPreconditionError: it is in use (QUEUE_IN_USE).
        """
        request = queue_pb2.DeleteQueueRequest(name=name)
        self._connection.call(self._queues.DeleteQueue, request)

    def nodes(self, pool: str = "", *, limit: int = 0) -> Iterator[node_pb2.Node]:
        """The nodes by pool and id; `pool` empty: of all pools; `limit` 0: all."""
        request = node_pb2.ListNodesRequest(pool=pool, page_size=min(limit or 500, 500))
        pages = every_page(partial(self._connection.call, self._nodes.ListNodes), request)
        yield from islice((node for page in pages for node in page.nodes), limit or None)

    def update_node(self, node: str, state: str) -> node_pb2.Node:
        """Take a node out, or back; for operators.

        Args:
            node: its id.
            state: READY, CORDONED or DRAINING.

        Raises:
            NotFoundError: there is no such node (NODE_NOT_FOUND).
        """
        value = node_pb2.NodeState.Value(f"NODE_STATE_{state}")
        request = node_pb2.UpdateNodeRequest(id=node, state=value)
        updated: node_pb2.Node = self._connection.call(self._nodes.UpdateNode, request).node
        return updated

    def usage(
        self, by: Sequence[str], since: datetime, until: datetime | None = None
    ) -> list[usage_pb2.UsageRow]:
        """What jobs have held, the largest first: of one's tenant, of all for an operator.

        Args:
            by: of tenant, queue, owner, job; accelerators of different types always stand apart.
            since: from when on.
            until: until when; None: until now.
        """
        request = usage_pb2.ListUsageRequest(
            by=[usage_pb2.UsageKey.Value(f"USAGE_KEY_{key.upper()}") for key in by]
        )
        request.since.FromDatetime(since)
        if until is not None:
            request.until.FromDatetime(until)
        return list(self._connection.call(self._usage.ListUsage, request).rows)

    def explain(
        self, subject: str | JobSpec, extra: Sequence[job_pb2.ExtraNodes] = ()
    ) -> job_pb2.ExplainJobResponse:
        """Why a job waits, or what would become of one that is sent now.

        Args:
            subject: id of a job, or the spec of one that is not sent.
            extra: as if there were these nodes too.

        Raises:
            NotFoundError: there is no such job (JOB_NOT_FOUND).
            UnavailableError: the controller does not schedule yet (SCHEDULER_STARTING).
        """
        ask = partial(job_pb2.ExplainJobRequest, extra=extra)
        request = ask(name=subject) if isinstance(subject, str) else ask(spec=subject)
        answer: job_pb2.ExplainJobResponse = self._connection.call(self._jobs.ExplainJob, request)
        return answer
