"""Values of which there are thousands: frozen to whoever checks types, and quick to make. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """A dataclass that nobody changes; one that is frozen at run time takes four times as long."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(kind)
