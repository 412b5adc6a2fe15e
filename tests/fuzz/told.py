"""What processes tell the one that started them: JSON, a line each."""

from __future__ import annotations

import json
import sys
from typing import Any

TELL_SECONDS = 2.0
"""Between one account of all calls and the next; failures are told at once."""


def tell(kind: str, **values: Any) -> None:
    """Say something of a kind."""
    sys.stdout.write(json.dumps({"kind": kind, **values}) + "\n")
    sys.stdout.flush()
