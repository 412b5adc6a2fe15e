"""The peer of `benchmarks/checkpoint.py`: torch.distributed.checkpoint on a folder of this machine.

What it makes durable when a save has ended: FileSystemWriter's `sync_files` is on, as it is where
nobody says otherwise, so that each rank's file and the metadata are fsynced; the folder that names
them is not. torch.save's CRC-32 of every tensor is written and not looked at when it is loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions


class Folder:
    """Checkpoints by name below a folder; every rank calls the same methods.

    Args:
        path: of the folder, the same on all ranks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # One that is kept has memory that was touched before; what pins or shares it is for GPUs
        # and for saving in another process.
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False,
                use_shared_memory=False,
                use_async_staging=False,
                use_non_blocking_copy=False,
            )
        )

    def save(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Return when it is saved."""
        dcp.save(dict(state), checkpoint_id=self._path / name)

    def begin(self, name: str, state: Mapping[str, Tensor], *, kept: bool) -> Future[Any]:
        """Return when it is copied aside; the future ends when it is saved.

        Args:
            name: of the checkpoint.
            state: what to save.
            kept: whether it is copied where the last one was.
        """
        stager = self._stager if kept else None
        found = dcp.async_save(dict(state), checkpoint_id=self._path / name, async_stager=stager)
        assert isinstance(found, Future)
        return found

    def load(self, name: str, state: Mapping[str, Tensor], group: dist.ProcessGroup) -> None:
        """Fill tensors from a checkpoint; the ranks of the group call it."""
        dcp.load(dict(state), checkpoint_id=self._path / name, process_group=group)

    def remove(self, name: str) -> None:
        """Delete a checkpoint; one rank calls it."""
        shutil.rmtree(self._path / name)

    def close(self) -> None:
        """End what stages."""
        self._stager.close()
