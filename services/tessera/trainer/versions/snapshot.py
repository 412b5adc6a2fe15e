"""What a rank owns of a version, copied aside, so that training goes on while it is pushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tessera.device import Device
from tessera.trainer.versions import layout


class SnapshotBuffers:
    """Memory of the host that is copied into, the same again for every version.

    A copy into memory that was touched before is some ten times faster than into fresh pages; from
    a GPU it is faster still where the pages are locked.

    Args:
        device: that training uses.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffers: dict[tuple[str, str], Tensor] = {}

    def take(
        self, placed: Sequence[layout.LocalTensor], rank: int, world_size: int
    ) -> list[layout.LocalTensor]:
        """The same tensors; the parts that the rank owns as they are now, the others none."""
        owned = {index for index, _ in layout.owned(placed, rank, world_size)}
        taken = [
            replace(item, part=self._copy(item) if index in owned else None)
            for index, item in enumerate(placed)
        ]
        self._device.synchronize()
        return taken

    def _copy(self, item: layout.LocalTensor) -> Tensor:
        assert item.part is not None
        key = (item.spec.group, item.spec.name)
        buffer = self._buffers.get(key)
        if buffer is None or (buffer.shape, buffer.dtype) != (item.part.shape, item.part.dtype):
            buffer = self._device.host_buffer(item.part)
            self._buffers[key] = buffer
        with torch.no_grad():
            buffer.copy_(item.part, non_blocking=True)
        return buffer
