"""References inside a spec: URLs of data and code."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

BLOB, STDLIB, DATASET = "blob", "stdlib", "dataset"

DATA_FILES = ("files", "target_files", "validation_files", "validation_target_files")
"""Fields of `data` that name files."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BLOB = re.compile(r"[0-9a-f]{64}/[^/]+")
_DATASET = re.compile(r"(\w[\w.-]*(/\w[\w.-]*)?|/[^?#]*[^?#/][^?#]*)(\?(?P<query>[^#]*))?")
_QUERY = {"config", "split", "revision"}


def split_url(text: str) -> tuple[str, str]:
    """Scheme, in lower case, and rest of a URL; the scheme of a path on this machine is empty."""
    found = _SCHEME.fullmatch(text)
    return (found[1].lower(), found[2]) if found else ("", text)


def is_pattern(url: str) -> bool:
    """Whether a path or URL may stand for any number of files."""
    return any(wildcard in url for wildcard in "*?[")


def is_blob(rest: str) -> bool:
    """Whether that, after blob://, names an uploaded file."""
    return _BLOB.fullmatch(rest) is not None


def is_dataset(rest: str) -> bool:
    """Whether that, after dataset://, names a data set of the hub or a folder of one."""
    found = _DATASET.fullmatch(rest)
    if found is None:
        return False
    query = found["query"] or ""
    pairs = parse_qsl(query)
    # What the parser leaves out has no name or no value.
    return (
        len(pairs) == (query.count("&") + 1 if query else 0)
        and {name for name, _ in pairs} <= _QUERY
    )
