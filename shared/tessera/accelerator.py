"""Accelerator types of a spec, as Ray calls them. Pure."""

from __future__ import annotations

ANY = frozenset({"GPU", "TPU"})
"""Types that any accelerator of the kind will do for."""


def is_tpu(accelerator: str) -> bool:
    """Whether a type is one of TPUs: `TPU`, `TPU-V6E`."""
    return accelerator.upper().startswith("TPU")


def resource_of(accelerator: str) -> str:
    """Ray's resource that a type is counted by: `GPU` or `TPU`; empty: no type, no resource."""
    if not accelerator:
        return ""
    return "TPU" if is_tpu(accelerator) else "GPU"


def is_particular(accelerator: str) -> bool:
    """Whether a type is of one model, for example `H100`."""
    return bool(accelerator) and accelerator.upper() not in ANY
