"""The filter of ListJobs."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.controller.policy import filters
from tessera.controller.policy.job import JobState


def test_filters_parse():
    assert filters.parse("  ") == []
    found = filters.parse("state=job_state_running AND label.a/b=x=y")
    assert [(c.column, c.label, c.values) for c in found] == [
        ("state", "", ("RUNNING",)),
        ("", "a/b", ("x=y",)),
    ]


def test_a_job_has_ended_or_it_has_not():
    (ended,), (not_ended,) = filters.parse("ended=true"), filters.parse("ended=False")
    assert {ended.column, not_ended.column} == {"state"}
    assert sorted(ended.values + not_ended.values) == sorted(JobState.__members__)
    assert all(JobState(name).terminal for name in ended.values)
    assert not any(JobState(name).terminal for name in not_ended.values)


@pytest.mark.parametrize("text", ["ended=maybe", "ended", "state=gone", "color=red", "label.a b=c"])
def test_what_is_no_filter(text):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        filters.parse(text)
    assert caught.value.reason == "INVALID_FILTER"
    assert caught.value.violations[0].field == "filter"
