"""docs/benchmarks.md: which lines stay, and where those of other hardware stand."""

from __future__ import annotations

import json
import sys

import pytest

HERE = "2 cores, no accelerator"
GPU = {
    "bench": "gpu_training",
    "metric": "gpt2: FLOP/s",
    "value": 1234.5,
    "unit": "TFLOP/s",
    "baseline": "peak",
    "baseline_value": 2469.0,
    "ratio": 0.5,
    "hardware": "One",
    "day": "2000-01-01",
}
BARE = {key: GPU[key] for key in ("bench", "unit", "hardware", "day")} | {
    "metric": "gpt2: training",
    "value": 10.0,
    "unit": "tokens/s",
}
STARTUP = {**GPU, "bench": "startup", "metric": "submit", "unit": "s"}
del STARTUP["hardware"]


@pytest.fixture
def run(load, tmp_path, monkeypatch):
    """The script, whose page begins without lines, and which measures nothing."""
    module = load("run")
    monkeypatch.setattr(module, "DOCUMENT", tmp_path / "benchmarks.md")
    monkeypatch.setattr(module, "machine", lambda: "another machine")
    monkeypatch.setattr(module, "measure", lambda name: [{**STARTUP, "bench": name, "value": 7.0}])
    module.DOCUMENT.write_text(module.document([STARTUP], HERE))
    return module


def written(run, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    run.main()
    return run.DOCUMENT.read_text()


def test_the_page_is_what_the_script_writes(load):
    run = load("run")
    page = run.DOCUMENT.read_text()
    assert run.document(run.merged(run.lines_in(page), []), run.machine_in(page)) == page


def test_without_lines_of_other_hardware_it_says_so(run):
    page = run.DOCUMENT.read_text()
    assert "Not measured yet: `benchmarks/gpu_training.py` needs an accelerator." in page
    assert "≥ 50 %" in page


@pytest.mark.processes
def test_lines_of_other_hardware_stand_apart_and_stay(run, monkeypatch, tmp_path):
    file = tmp_path / "lines"
    other = {**GPU, "hardware": "Two"}
    file.write_text("\n".join(["a warning", *map(json.dumps, [GPU, BARE, other])]))
    page = written(run, monkeypatch, "--lines", file)
    assert f"Measured on {HERE}." in page
    head, _, below = page.partition("## On other hardware")
    below = below.partition("## Every line")[0]
    assert "Not measured yet" not in page
    assert "gpt2" not in head.partition("## Results")[2]
    rows = [row for row in below.splitlines() if row.startswith("|")][2:]
    assert rows == [
        "| One | gpt2: FLOP/s | 1,234.5 TFLOP/s | 2,469.0 TFLOP/s | peak | **0.5** | 2000-01-01 |",
        "| One | gpt2: training | 10.0 tokens/s |  |  |  | 2000-01-01 |",
        "| Two | gpt2: FLOP/s | 1,234.5 TFLOP/s | 2,469.0 TFLOP/s | peak | **0.5** | 2000-01-01 |",
    ]
    file.write_text(json.dumps({**GPU, "value": 5.0}))
    page = written(run, monkeypatch, "--lines", file)
    assert [line["value"] for line in run.lines_in(page)] == [1234.5, 10.0, 1234.5, 5.0]
    page = written(run, monkeypatch)
    here = len(run.AIMS) - len(run.ELSEWHERE)
    assert run.lines_in(page)[here:] == [BARE, other, {**GPU, "value": 5.0}]
    assert "Measured on another machine." in page


@pytest.mark.processes
def test_what_is_not_run_keeps_its_lines(run, monkeypatch):
    page = written(run, monkeypatch, "training")
    first, second = run.lines_in(page)
    assert (first["bench"], first["value"]) == ("training", 7.0)
    assert second == STARTUP
    page = written(run, monkeypatch)
    assert [line["bench"] for line in run.lines_in(page)] == [
        name for name in run.AIMS if name not in run.ELSEWHERE
    ]


def test_wrong_arguments_are_told_in_a_line(run, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match="there is no benchmark walking; there are: training"):
        written(run, monkeypatch, "walking")
    file = tmp_path / "lines"
    file.write_text(json.dumps(STARTUP))
    with pytest.raises(SystemExit, match="a line that names no hardware"):
        written(run, monkeypatch, "--lines", file)
