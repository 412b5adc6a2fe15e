"""Rules for everything that names a file."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem
from tessera.spec.urls import (
    BLOB,
    DATA_FILES,
    DATASET,
    STDLIB,
    is_blob,
    is_dataset,
    split_url,
)


def url_problems(spec: JobSpec, *, uploaded: bool) -> Iterator[Problem]:
    """Problems of every URL in a spec.

    Args:
        spec: the spec.
        uploaded: whether local paths must have been replaced by blob:// already.
    """
    for name in DATA_FILES:
        for index, url in enumerate(getattr(spec.data, name)):
            yield from _problems(f"data.{name}[{index}]", url, uploaded=uploaded, data=True)
    if spec.tokenizer.path:
        yield from _problems("tokenizer.path", spec.tokenizer.path, uploaded=uploaded, data=False)
    if spec.code:
        yield from _code_problems(spec.code, uploaded=uploaded)


def _problems(field: str, url: str, *, uploaded: bool, data: bool) -> Iterator[Problem]:
    scheme, rest = split_url(url)
    if not url.isprintable() or not url.strip():
        yield _bad(field, f"{url!r} is neither a path nor a URL")
    elif not scheme:
        if uploaded:
            yield _local(field, url)
    elif not rest.strip("/"):
        yield _bad(field, f"`{url}` names nothing after {scheme}://")
    elif scheme == BLOB and not is_blob(rest):
        yield _bad(field, f"`{url}` is not blob://SHA256/FILENAME")
    elif scheme in {STDLIB, DATASET} and not data:
        yield _bad(field, f"{scheme}:// is for data.files only")
    elif scheme == STDLIB and (rest.startswith("/") or ".." in rest.split("/")):
        yield _bad(field, f"`{url}` leaves the standard library; write stdlib://json/*.py")
    elif scheme == DATASET and not is_dataset(rest):
        yield _bad(
            field,
            f"`{url}` is not dataset://OWNER/NAME or dataset:///FOLDER, after which "
            "?config=…&split=…&revision=… may follow",
        )


def _code_problems(code: str, *, uploaded: bool) -> Iterator[Problem]:
    scheme, rest = split_url(code)
    if not scheme:
        if uploaded:
            yield _local("code", code)
    elif scheme != BLOB or not is_blob(rest) or not rest.endswith((".py", ".zip")):
        yield _bad("code", f"`{code}` must be a folder or .py file here, or blob://SHA256/NAME.zip")


def _bad(field: str, description: str) -> Problem:
    return Problem(reason="BAD_URL", field=field, description=description)


def _local(field: str, path: str) -> Problem:
    description = (
        f"`{path}` lies on the client's machine; the client must upload it, or name a URL "
        "(file://, s3:// …) that the workers can read"
    )
    return Problem(reason="FILE_NOT_UPLOADED", field=field, description=description)
