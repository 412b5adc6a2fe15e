"""Lines of a job's log on the command line."""

from __future__ import annotations

import pytest

from tessera.api.controller.v1 import attempt_pb2

pytestmark = pytest.mark.processes


def test_logs(on, running):
    job, attempt = running()
    attempt.log("driver", "one", "two")
    attempt.log("rank-0", "hello")
    assert sorted(on("logs", job).out.splitlines()) == [
        "driver   | one",
        "driver   | two",
        "rank-0   | hello",
    ]
    assert on("logs", job, "--source", "driver", "--tail", "1").out == "two\n"
    assert {line["source"] for line in on("logs", job, "--output", "json").lines} == {
        "driver",
        "rank-0",
    }
    attempt.finish(success=attempt_pb2.Success(version=1))
    assert "hello" in on("logs", job, "-f").out
