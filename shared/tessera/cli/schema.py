"""`tessera schema`."""

from __future__ import annotations

from tessera.cli import show
from tessera.spec import json_schema


def schema() -> None:
    """Print the JSON schema of a job's file, for editors."""
    show.as_json(json_schema())
