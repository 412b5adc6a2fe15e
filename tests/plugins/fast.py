"""A pytest plugin: only what takes moments, neither Ray nor other processes.

Properties are tried by few examples, and files are kept in memory, where to sync one takes no time.
What is left out is not even imported, for that would take as long as the tests; a test that starts
a process and does not say so fails.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers

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

MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that it must have free; containers often have 64 MiB."""

_running: list[str] = []

hypothesis.settings.register_profile("fast", max_examples=EXAMPLES, deadline=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("fast")
    # To read all of our code for numbers that may be of interest takes longer than ten examples.
    providers._get_local_constants = lambda: providers._local_constants
    sys.addaudithook(_refuse)
    if not hasattr(config, "workerinput") and MEMORY.is_dir():
        _keep_in_memory(config)


def _keep_in_memory(config: pytest.Config) -> None:
    """Have this process, and the workers that it starts, make their temporary files there."""
    if shutil.disk_usage(MEMORY).free < ROOM:
        return
    folder = tempfile.mkdtemp(prefix="pytest-", dir=MEMORY)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Nobody needs to look for what could be freed: all of it is, in a moment."""
    gc.freeze()


def _refuse(event: str, _: Any) -> None:
    if event in STARTS and _running:
        raise RuntimeError(f"{_running[0]} starts a process: mark it `processes`")
