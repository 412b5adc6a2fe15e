"""The commands that hold, pause, requeue and drop jobs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.processes


def test_what_can_be_done_to_a_job(on, job_file, running):
    waits = on("submit", job_file("publish: {set: held}"), "--output", "json").json["id"]
    assert "QUEUED (HELD)" in on("hold", waits, "-m", "for the night").out
    row = next(line for line in on("jobs").out.splitlines() if line.startswith(waits))
    assert "QUEUED (HELD)" in row
    assert row.rstrip().endswith(": for the night")
    assert "priority -5" in on("priority", waits, "--", "-5").out
    assert "(HELD)" not in on("release", waits).out
    for refused, told in (
        (on("purge", waits, "--yes"), "is QUEUED; cancel it first"),
        (on("purge", waits), "add --yes"),
        (on("priority", waits, "5000"), "less than or equal to 1000"),
        (on("pause", waits, "--grace", "-1"), "greater than or equal to 0"),
        (on("hold", "nothing"), "there is no job"),
    ):
        assert (refused.code, refused.out) == (2, "")
        assert told in refused.err
    on("cancel", waits)
    ended = on("pause", waits)
    assert (ended.code, "only a job that has not ended" in ended.err) == (2, True)
    assert on("purge", waits, "--yes").out == f"{waits} is gone\n"
    assert on("job", waits).code == 2
    job, _ = running()
    assert "STOPPING (PAUSED)" in on("pause", job, "--grace", "600").out
    assert "STOPPING" in on("resume", job).out
    assert "STOPPING" in on("requeue", job).out
