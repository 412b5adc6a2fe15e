"""The one place that knows kinds of devices; chosen by the spec, never guessed.

Nothing else in Tessera names one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tessera import errors
from tessera.accelerator import is_tpu

HOST = torch.device("cpu")
"""Where objects and scalars live that every rank exchanges."""

CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much memory a container may use, in bytes or `max`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A kind of device, and which one of it this process uses.

    Args:
        type: torch's name of the kind.
        index: of the device, where a process may see several.
    """

    type: str
    index: int = 0

    @classmethod
    def for_accelerator(cls, accelerator: str, index: int = 0) -> Device:
        """The device that a spec's `accelerator.type` stands for; empty: none.

        Raises:
            InvalidArgumentError: ACCELERATOR_UNSUPPORTED.
            FailedPreconditionError: ACCELERATOR_MISSING where the process sees no such device.
        """
        kind = kind_of(accelerator)
        if kind != HOST.type and not torch.cuda.is_available():
            raise errors.FailedPreconditionError(
                f"accelerator `{accelerator}`: this worker sees no GPU",
                reason="ACCELERATOR_MISSING",
            )
        return cls(type=kind, index=0 if kind == HOST.type else index)

    @property
    def backend(self) -> str:
        """Backend of process groups; also carries objects and scalars of the host."""
        return _backend(self.type)

    @property
    def torch(self) -> torch.device:
        """Torch's handle."""
        return torch.device(self.type, self.index) if self.type != "cpu" else HOST

    @property
    def native_bf16(self) -> bool:
        """Whether bfloat16 is computed, not emulated; a CPU is taken not to."""
        return self.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)

    @property
    def compile_backend(self) -> str:
        """What torch.compile generates code with."""
        return "inductor"

    def use(self) -> None:
        """Make it the process's current device."""
        if self.type == "cuda":
            torch.cuda.set_device(self.index)

    def mesh(self, world_size: int) -> DeviceMesh:
        """A one-dimensional mesh of all ranks."""
        return init_device_mesh(self.type, (world_size,))

    def autocast(self, *, bf16: bool) -> AbstractContextManager[object]:
        """Computes in bfloat16 inside, if asked to."""
        return torch.autocast(self.type, dtype=torch.bfloat16) if bf16 else nullcontext()

    def synchronize(self) -> None:
        """Return when everything that was enqueued is done."""
        if self.type == "cuda":
            torch.cuda.synchronize()

    def host_buffer(self, like: Tensor) -> Tensor:
        """Memory of the host for a tensor's content, which copies from the device are fast to."""
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=self.type == "cuda")

    def peak_memory(self) -> int | None:
        """Most bytes of device memory that were in use at once; None where nobody counts."""
        return int(torch.cuda.max_memory_allocated()) if self.type == "cuda" else None

    def rng_state(self) -> Tensor | None:
        """State of the device's own random generator, [n] uint8; None where it has none."""
        return torch.cuda.get_rng_state() if self.type == "cuda" else None

    def set_rng_state(self, state: Tensor) -> None:
        """Put back what `rng_state` returned."""
        if self.type == "cuda":
            torch.cuda.set_rng_state(state)


def total_memory(device: torch.device) -> int:
    """Bytes of memory of a device, used or not; of the host, those that this process may use."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = int(psutil.virtual_memory().total)
    try:
        allowed = CGROUP_MEMORY.read_text().strip()
    except OSError:
        return total
    return min(total, int(allowed)) if allowed.isdecimal() else total


def kind_of(accelerator: str) -> str:
    """Torch's name of the kind of device that a spec's `accelerator.type` stands for.

    Raises:
        InvalidArgumentError: ACCELERATOR_UNSUPPORTED for a kind that this build cannot use.
    """
    if not accelerator:
        return HOST.type
    if is_tpu(accelerator):
        description = (
            f"`{accelerator}` needs the torch_tpu package, which this build does not support; "
            "ask for a GPU, or leave `resources.accelerator` out"
        )
        raise errors.InvalidArgumentError(
            f"resources.accelerator.type: {description}",
            reason="ACCELERATOR_UNSUPPORTED",
            violations=[errors.Violation("resources.accelerator.type", description)],
        )
    return "cuda"


def backend_for(accelerator: str) -> str:
    """Backend of the process groups of workers with that accelerator; needs no device here."""
    return _backend(kind_of(accelerator))


def _backend(kind: str) -> str:
    return "gloo" if kind == HOST.type else f"cpu:gloo,{kind}:nccl"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or of a device ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
