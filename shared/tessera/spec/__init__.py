"""The spec of a job: read from YAML, checked, completed with defaults, described as a schema."""

from tessera.spec.check import check
from tessera.spec.document import Document, load, read
from tessera.spec.plain import dump, plain
from tessera.spec.resolve import rate_is_open, resolve
from tessera.spec.schema import json_schema

__all__ = [
    "Document",
    "check",
    "dump",
    "json_schema",
    "load",
    "plain",
    "rate_is_open",
    "read",
    "resolve",
]
