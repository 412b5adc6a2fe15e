"""The place that was found for work for which other work was asked to go. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.placing import PlacedWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Room and quota that others give up for some work: nobody else gets them meanwhile.

    Args:
        placed: its workers.
        nodes: the nodes of their rows.
        amounts: that count for quotas.
        deadline: when the last of the others is gone.
    """

    placed: tuple[PlacedWorker, ...]
    nodes: tuple[str, ...]
    amounts: dict[str, int]
    deadline: float

    def stands(self, table: NodeTable) -> bool:
        """Whether its nodes are still there and take work."""
        return all(
            table.rows.get(name) == worker.row and bool(table.usable[worker.row])
            for name, worker in zip(self.nodes, self.placed, strict=True)
        )
