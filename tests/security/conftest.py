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
    with subprocess.Popen(
        [sys.executable, script, tmp_path_factory.mktemp("served")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        told = json.loads(next(line for line in process.stdout if line.startswith("{")))
        memory = psutil.Process(process.pid).memory_info
        yield SimpleNamespace(**told, rss=lambda: memory().rss / 2**20)
        process.kill()
