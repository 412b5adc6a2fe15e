"""docs/quality.md: aims that are missed, and the spread of what was trained."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest


@pytest.fixture
def quality(load, tmp_path, monkeypatch):
    """The script, with a page of its own and no platform."""
    load("run")
    module = load("quality")
    monkeypatch.setattr(module, "DOCUMENT", tmp_path / "quality.md")
    monkeypatch.setattr(module, "platform", lambda: nullcontext(None))
    return module


def measured(values, peers=(1.0,), **more):
    line = importlib.import_module("rows.platform").line
    return line("metric", values, "unit", "peer", peers, **{"seconds": 60, **more})


def test_the_page_is_what_the_script_writes(load):
    run, quality = load("run"), load("quality")
    page = quality.DOCUMENT.read_text()
    assert quality.document(run.lines_in(page), run.machine_in(page)) == page


def test_a_peer_that_is_trained_has_a_spread_too(quality):
    both = quality.dated({**measured([1.0, 3.0], [2.0, 2.5]), "row": "hybrid"})
    assert "| **2** ± 1.4 unit | peer | 2.25 ± 0.35 | 2 |" in quality.row(both)
    one = quality.dated({**measured([1.0, 3.0], [2.0]), "row": "sst2"})
    assert "| **2** ± 1.4 unit | peer | 2 | 2 |" in quality.row(one)
    once = quality.dated({**measured([1.0]), "row": "sst2"})
    assert "| **1** unit | peer | 1 | 1 |" in quality.row(once)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("shakespeare", 1.88, ""),
        ("shakespeare", 1.8801, "held-out loss of 1.8801 nats, above 1.88"),
        ("multi30k", 30.0, ""),
        ("multi30k", 29.99, "sacreBLEU of 29.99, below 30.0"),
        ("sst2", 1.01, ""),
        ("sst2", 0.5, "accuracy of 0.5, not above 1.0 of peer"),
        ("hybrid", 0.1, ""),
    ],
)
def test_aims(name, value, said, quality):
    assert importlib.import_module(f"rows.{name}").missed([measured([value])]) == said


def test_an_hour_is_an_aim_too(quality):
    late = measured([40.0], seconds=3601)
    missed = importlib.import_module("rows.multi30k").missed([late])
    assert missed == "3601 s for a job, above 3600"


@pytest.mark.processes
def test_a_missed_aim_ends_the_run_with_one_line(quality, monkeypatch, tmp_path):
    reached = {"shakespeare": 1.5, "multi30k": 12.0, "sst2": 0.5}
    rows = {name: importlib.import_module(f"rows.{name}") for name in reached}
    for name, value in reached.items():
        fake = SimpleNamespace(
            run=lambda *_, value=value: iter([measured([value])]), missed=rows[name].missed
        )
        monkeypatch.setitem(sys.modules, f"rows.{name}", fake)
    monkeypatch.setattr(sys, "argv", ["quality.py", *reached, "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        quality.main()
    assert caught.value.code == (
        "multi30k misses its aim: sacreBLEU of 12.0, below 30.0; "
        "sst2 misses its aim: accuracy of 0.5, not above 1.0 of peer"
    )
    assert [line["row"] for line in quality.lines_in(quality.DOCUMENT.read_text())] == [*reached]
    monkeypatch.setattr(sys, "argv", ["quality.py", "shakespeare", "--data", str(tmp_path)])
    quality.main()
