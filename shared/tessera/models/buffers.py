"""The buffers that a version keeps beside a module's parameters: those that torch saves."""

from __future__ import annotations

from torch import Tensor, nn


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Buffers registered as persistent, in the order of the module.

    One that several modules hold is there once, under its first name, as a tied parameter is.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, part in module.named_modules():
        for leaf, buffer in part.named_buffers(recurse=False, remove_duplicate=False):
            # Torch says it by `state_dict` only, which a sharded module answers by resharding.
            if leaf in part._non_persistent_buffers_set or id(buffer) in seen:  # noqa: SLF001
                continue
            seen.add(id(buffer))
            found[f"{path}.{leaf}" if path else leaf] = buffer
    return found


def kept_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All that a version keeps of a module: its parameters, then its persistent buffers."""
    return {**dict(module.named_parameters()), **persistent_buffers(module)}
