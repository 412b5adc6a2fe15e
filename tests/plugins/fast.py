"""A pytest plugin: only what takes moments, neither Ray nor other processes.

Properties are tried by few examples. What is left out is not even imported, for that would take as
long as the tests; a test that starts a process and does not say so fails.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

HEAVY = ("ray", "processes", "waits", "slow", "chaos")
HEAVY_FILE = re.compile(
    rf"^pytestmark = [^\n]*(?:\n[ \])][^\n]*)*?mark\.(?:{'|'.join(HEAVY)})\b", re.MULTILINE
)
"""A file of which every test is."""
STARTS = ("os.fork", "os.posix_spawn", "os.system", "subprocess.Popen")
"""Events by which Python says that a process is started."""

EXAMPLES = 10
SETTINGS = "_hypothesis_internal_use_settings"
"""Where Hypothesis keeps what `@settings` says of a test."""

_running: list[str] = []

hypothesis.settings.register_profile("fast", max_examples=EXAMPLES, deadline=None)


def pytest_configure() -> None:
    hypothesis.settings.load_profile("fast")
    sys.addaudithook(_refuse)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.suffix != ".py":
        return None
    return True if HEAVY_FILE.search(collection_path.read_text()) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not any(map(item.get_closest_marker, HEAVY))]
    for item in items:
        test = getattr(item, "obj", None)
        said = getattr(test, SETTINGS, None)
        if said is not None and said.max_examples > EXAMPLES:
            setattr(
                getattr(test, "__func__", test),
                SETTINGS,
                hypothesis.settings(said, max_examples=EXAMPLES),
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running.clear()


def _refuse(event: str, _: Any) -> None:
    if event in STARTS and _running:
        raise RuntimeError(f"{_running[0]} starts a process: mark it `processes`")
