"""The ranks of a run as one: who I am, and what all must agree on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tessera.device import HOST
from tessera.trainer.failure import CollateralError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process's place among the ranks; the process group must exist.

    `group` is what they exchange things by; None: the process group of all.
    """

    rank: int
    world_size: int
    local_rank: int
    group: dist.ProcessGroup | None = field(default=None, compare=False)

    @classmethod
    def joined(cls) -> Ranks:
        """The place that the launcher gave this process."""
        return cls(
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )

    def apart(self) -> Ranks:
        """The same ranks for another thread: what it exchanges never meets what this one does.

        Every rank calls it, at the same place among what they exchange.
        """
        return replace(self, group=dist.new_group(backend="gloo"))

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def is_host_main(self) -> bool:
        """Whether this is the first rank of its host."""
        return self.local_rank == 0

    def broadcast(self, value: T | None) -> T:
        """Rank 0's value, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=HOST, group=self.group)
        return box[0]  # type: ignore[return-value]

    def overwrite(self, tensor: Tensor) -> None:
        """Put rank 0's tensor in place of every rank's; of the same size, on any device."""
        dist.broadcast(tensor, src=0, group=self.group)

    def gather(self, value: T) -> list[T]:
        """Every rank's value, by rank, on every rank."""
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def sum(self, *values: float) -> list[float]:
        """Sums over all ranks, in float64."""
        return self.begin_sum(*values)()

    def begin_sum(self, *values: float) -> Callable[[], list[float]]:
        """Begin to sum over all ranks, in float64; what is returned waits for the sums."""
        tensor = torch.tensor(values, dtype=torch.float64)
        work = dist.all_reduce(tensor, group=self.group, async_op=True)

        def finish() -> list[float]:
            work.wait()
            return tensor.tolist()

        return finish

    def on_main(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank.

        Raises:
            CollateralError: it raised there; rank 0 raises the error itself.
        """
        error: Exception | None = None
        value: T | None = None
        if self.is_main:
            try:
                value = work()
            except Exception as caught:  # noqa: BLE001 - the others must not be left waiting
                error = caught
        value, message = self.broadcast((value, "" if error is None else str(error) or "failed"))
        if error is not None:
            raise error
        if message:
            raise CollateralError(f"rank 0 failed: {message}")
        return value  # type: ignore[return-value]

    def on_all(self, work: Callable[[], T]) -> tuple[T | None, Exception | None, list[str]]:
        """Run `work` on every rank and meet again, whatever happened.

        Returns:
            This rank's value, this rank's error, and every rank's error as text ("" for none).
        """
        value: T | None = None
        error: Exception | None = None
        try:
            value = work()
        except Exception as caught:  # noqa: BLE001 - the others must not be left waiting
            error = caught
        return value, error, self.gather("" if error is None else str(error) or "failed")

    def barrier(self) -> None:
        """Return when every rank is here."""
        self.sum(0.0)
