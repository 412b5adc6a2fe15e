"""The limits that the .proto files state, checked before a handler sees a request."""

from __future__ import annotations

from tessera.validation import check, violations

__all__ = ["check", "violations"]
