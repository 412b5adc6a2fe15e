"""The end of a log, as it is told."""

from __future__ import annotations

import json

from tessera.local.tail import LINES, WIDTH, tail


def test_the_last_lines_and_the_place(tmp_path):
    log = tmp_path / "ray.log"
    log.write_text("".join(f"line {i}\n\n" for i in range(50)))
    assert tail(log).splitlines() == ["line 47", "line 48", "line 49", f"all of it: {log}"]


def test_only_what_is_new(tmp_path):
    log = tmp_path / "log"
    log.write_text("old\n")
    before = log.stat().st_size
    assert tail(log, before) == f"all of it: {log}"
    with log.open("a") as file:
        file.write("new\n")
    assert tail(log, before).splitlines() == ["new", f"all of it: {log}"]
    log.write_text("x\n")  # Shorter than before: it was begun again.
    assert tail(log, before).splitlines() == ["x", f"all of it: {log}"]


def test_records_are_told_as_sentences(tmp_path):
    log = tmp_path / "log"
    records = [
        {"event": "the platform cannot run", "reason": "RAY_SLOW", "message": "Ray is slow"},
        {"event": "it broke", "exception": "Traceback:\n  here\nValueError: no"},
    ]
    log.write_text("".join(f"{json.dumps(record)}\n" for record in records[:1]))
    assert tail(log).startswith("the platform cannot run: Ray is slow: RAY_SLOW\n")
    log.write_text(json.dumps(records[1]))
    assert tail(log).splitlines()[:3] == ["Traceback:", "  here", "ValueError: no"]


def test_it_is_bounded_and_survives_anything(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\xff\x00 {" * 100_000 + b"\n{broken\n" + b"y" * 10_000)
    lines = tail(log).splitlines()
    assert len(lines) <= LINES + 1
    assert all(len(line) <= WIDTH + 2 for line in lines[:-1])
    assert tail(tmp_path / "none") == f"(no log at {tmp_path / 'none'})"
