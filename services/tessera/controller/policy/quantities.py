"""Amounts as people write them, and in the scheduler's units. Pure.

People count processors, bytes and devices; the scheduler thousandths, MiB and thousandths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tessera import errors
from tessera.controller.policy.demand import MIB
from tessera.controller.scheduling.shape import MEMORY, WHOLE

_NAME = re.compile(r"cpu|memory|[A-Z][A-Za-z0-9_.-]{0,63}")


def amounts_of(shown: Mapping[str, float], field: str) -> dict[str, int]:
    """In the scheduler's units.

    Raises:
        InvalidArgumentError: a resource has a name that is none (INVALID_FIELD).
    """
    for name in shown:
        if not _NAME.fullmatch(name):
            text = f"'{name}' is no resource; there are cpu, memory and accelerator types like H100"
            raise errors.InvalidArgumentError.at(f"{field}[{name}]", text, "INVALID_FIELD")
    return {name: _unit(name, amount) for name, amount in shown.items()}


def _unit(name: str, amount: float) -> int:
    return int(amount // MIB) if name == MEMORY else round(amount * WHOLE)


def shown_of(amounts: Mapping[str, int]) -> dict[str, float]:
    """As people count them."""
    return {
        name: float(amount * MIB) if name == MEMORY else amount / WHOLE
        for name, amount in amounts.items()
    }
