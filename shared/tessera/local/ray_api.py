"""Ray's HTTP interface, with nothing but the standard library, and through no proxy."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, token_path: Path | None, seconds: float = 10.0) -> bytes:
    """The body of an answer.

    Args:
        url: of the dashboard and a path below it.
        token_path: file with the cluster's token; None for an open cluster.
        seconds: how long the answer may take.

    Raises:
        OSError: no answer, or one that is not 2xx (`urllib.error.URLError`).
    """
    return _send(urllib.request.Request(url), token_path, seconds)  # noqa: S310 - always http


def post(url: str, token_path: Path | None, body: object, seconds: float = 30.0) -> Any:
    """Send `body` as JSON; returns the decoded answer.

    Raises:
        OSError: no answer, or one that is not 2xx.
    """
    headers = {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - always http
    return json.loads(_send(request, token_path, seconds))


def _send(request: urllib.request.Request, token_path: Path | None, seconds: float) -> bytes:
    if token_path is not None:
        request.add_header("Authorization", f"Bearer {token_path.read_text().strip()}")
    with _OPENER.open(request, timeout=seconds) as answer:
        return bytes(answer.read())
