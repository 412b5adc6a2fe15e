"""Servers in a process of their own, and the tokens of two tenants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A platform's servers: `addresses` and `tokens` by name, and `rss()` of them all in MiB."""
    script = Path(__file__).with_name("served_process.py")
    folder = tmp_path_factory.mktemp("served")
    log = folder.with_suffix(".log")
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, script, folder], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            memory = psutil.Process(process.pid).memory_info
            yield SimpleNamespace(**json.loads(line), rss=lambda: memory().rss / 2**20)
        finally:
            process.kill()
