"""References inside a spec: URLs of data and code, and names of versions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec

BLOB, STDLIB = "blob", "stdlib"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BLOB = re.compile(r"[0-9a-f]{64}/[^/]+")
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_VERSION = re.compile(rf"(?:{_LABEL}/)?{_LABEL}(?:@[1-9][0-9]{{0,17}})?")


def split_url(text: str) -> tuple[str, str]:
    """Scheme, in lower case, and rest of a URL; the scheme of a path on this machine is empty."""
    found = _SCHEME.fullmatch(text)
    return (found[1].lower(), found[2]) if found else ("", text)


def version_problem(text: str) -> str:
    """What is wrong with `set@version` or `set`; empty: nothing."""
    if _VERSION.fullmatch(text):
        return ""
    return f"`{text}` names no version; write set@version (a whole number from 1) or set"


def url_problems(spec: JobSpec, *, uploaded: bool) -> Iterator[dict[str, str]]:
    """Problems of every URL in a spec: reason, field, description."""
    named = [(f"data.files[{i}]", url) for i, url in enumerate(spec.data.files)]
    if spec.tokenizer.path:
        named.append(("tokenizer.path", spec.tokenizer.path))
    for field, url in named:
        if problem := _url_problem(url, uploaded=uploaded, stdlib=field.startswith("data.")):
            reason, description = problem
            yield {"reason": reason, "field": field, "description": description}
    if spec.code and (problem := _code_problem(spec.code, uploaded=uploaded)):
        reason, description = problem
        yield {"reason": reason, "field": "code", "description": description}


def _url_problem(url: str, *, uploaded: bool, stdlib: bool) -> tuple[str, str] | None:
    scheme, rest = split_url(url)
    if not url.isprintable() or not url.strip():
        return "BAD_URL", f"{url!r} is neither a path nor a URL"
    if not scheme:
        return _local_problem(url) if uploaded else None
    if not rest.strip("/"):
        return "BAD_URL", f"`{url}` names nothing after {scheme}://"
    if scheme == BLOB and not _BLOB.fullmatch(rest):
        return "BAD_URL", f"`{url}` is not blob://SHA256/FILENAME"
    if scheme == STDLIB and not stdlib:
        return "BAD_URL", "stdlib:// is for data.files only"
    return None


def _code_problem(code: str, *, uploaded: bool) -> tuple[str, str] | None:
    scheme, rest = split_url(code)
    if not scheme:
        return _local_problem(code) if uploaded else None
    if scheme != BLOB or not _BLOB.fullmatch(rest) or not rest.endswith((".py", ".zip")):
        return "BAD_URL", f"`{code}` must be a folder or .py file here, or blob://SHA256/NAME.zip"
    return None


def _local_problem(path: str) -> tuple[str, str]:
    description = (
        f"`{path}` lies on the client's machine; the client must upload it, or name a URL "
        "(file://, s3:// …) that the workers can read"
    )
    return "FILE_NOT_UPLOADED", description
