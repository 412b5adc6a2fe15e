"""The filter of ListJobs."""

from __future__ import annotations

from tessera.controller.policy import filters


def test_filters_parse():
    assert filters.parse("  ") == []
    found = filters.parse("state=job_state_running AND label.a/b=x=y")
    assert [(c.column, c.label, c.value) for c in found] == [
        ("state", "", "RUNNING"),
        ("", "a/b", "x=y"),
    ]
