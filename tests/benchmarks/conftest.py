from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Gives a script of benchmarks/ as a module; what it imports beside it is found."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def loaded(name):
        # The examples have a `run` of their own, which other tests import.
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded
