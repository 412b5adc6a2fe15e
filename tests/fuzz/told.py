"""What processes tell the one that started them: JSON, a line each."""

from __future__ import annotations

import json
import sys
from typing import Any


def tell(kind: str, **values: Any) -> None:
    """Say something of a kind."""
    sys.stdout.write(json.dumps({"kind": kind, **values}) + "\n")
    sys.stdout.flush()
