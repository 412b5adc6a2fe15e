"""What work that was admitted holds, worker by worker, and when that ends at the latest. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tessera.controller.scheduling.columns import Floats, Integers, NodeColumns
from tessera.controller.scheduling.shape import WHOLE, WorkerShape
from tessera.controller.scheduling.workload import Workload

OVERDUE = 30.0
"""Seconds after its limit, or its deadline to go, in which work is expected to be gone."""


@dataclass(slots=True, kw_only=True)
class AllocatedWorker:
    """A worker of a set on a node.

    Args:
        node: its id; one that is still to be made has a name of its group's.
        shape: what it holds.
        devices: on which devices.
        line: of the table of times; -1: its node is not here.
    """

    set: int
    node: str
    shape: WorkerShape
    devices: tuple[int, ...] = ()
    line: int = -1


@dataclass(slots=True, kw_only=True)
class Allocation:
    """Work that was admitted.

    Args:
        work: whose it is.
        start: when it was admitted.
        workers: all of them.
        amounts: that count for quotas.
        checkpoint: when it last wrote what a resume goes on from.
        deadline: by when it was asked to go; None: it was not.
        preempted_by: the work that it goes for.
    """

    work: Workload
    start: float
    workers: list[AllocatedWorker]
    amounts: dict[str, int]
    checkpoint: float
    deadline: float | None = None
    preempted_by: str = ""

    @property
    def ends(self) -> float:
        """When it is over at the latest; infinite: it has no limit."""
        limit = math.inf if self.work.limit is None else self.start + self.work.limit
        return limit if self.deadline is None else min(limit, self.deadline)

    @property
    def nodes(self) -> set[str]:
        """Where its workers are."""
        return {worker.node for worker in self.workers}


class EndTimes:
    """When what is held of each row ends: a line for each worker.

    `version` changes whenever a line does.
    """

    def __init__(self) -> None:
        self.version = 0
        self._row: Integers = np.zeros(64, np.int64)
        self._ends: Floats = np.full(64, np.nan)
        self._held = NodeColumns.zeros(64, 8)
        self._spare = list(range(64))

    def add(self, row: int, ends: float, worker: AllocatedWorker) -> None:
        """A worker holds its share of a row until then."""
        self.version += 1
        last = max(worker.devices, default=0)
        if not self._spare or last >= self._held.devices.shape[1]:
            self._grow(last + 1)
        line = worker.line = heapq.heappop(self._spare)
        self._row[line], self._ends[line] = row, ends
        self._held.cpu[line], self._held.memory[line] = worker.shape.cpu, worker.shape.memory
        self._held.devices[line] = 0
        self._held.devices[line, list(worker.devices)] = worker.shape.share or WHOLE

    def remove(self, worker: AllocatedWorker) -> None:
        """It holds nothing any more."""
        self.version += 1
        self._ends[worker.line] = np.nan
        heapq.heappush(self._spare, worker.line)
        worker.line = -1

    def move(self, workers: Iterable[AllocatedWorker], ends: float) -> None:
        """Workers end at another time."""
        self.version += 1
        for worker in workers:
            if worker.line >= 0:
                self._ends[worker.line] = ends

    def in_order(self, now: float) -> tuple[Floats, Integers, NodeColumns]:
        """When what is held ends, of which row, and how much it is; the earliest first.

        What is overdue is taken to end soon.
        """
        lines = np.flatnonzero(~np.isnan(self._ends))
        ends = np.where(self._ends[lines] <= now, now + OVERDUE, self._ends[lines])
        order = np.argsort(ends, kind="stable")
        lines = lines[order]
        held = NodeColumns(
            cpu=self._held.cpu[lines],
            memory=self._held.memory[lines],
            devices=self._held.devices[lines],
        )
        return ends[order], self._row[lines], held

    def _grow(self, devices: int) -> None:
        old, width = self._held.devices.shape
        rows = old if self._spare else 2 * old
        self._held = self._held.grown(rows, max(width, devices))
        self._row = np.append(self._row, np.zeros(rows - old, np.int64))
        self._ends = np.append(self._ends, np.full(rows - old, np.nan))
        for line in range(old, rows):
            heapq.heappush(self._spare, line)
