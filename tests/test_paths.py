"""Names become paths below a root, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.paths import below, is_name

ROOT = Path("/root/of/all")
WRONG = ["", ".", "..", "...", "a/b", "/", "/etc", "a\0b", "a\n", "é", "a\\b", ".hidden", "a" * 256]
PARTS = st.one_of(
    st.sampled_from([*WRONG, "a", "job-1", "0", "rank-3.log", "model_1", "a..b"]), st.text()
)


@given(st.lists(PARTS, max_size=4))
def test_it_is_below_the_root_or_it_is_refused(names):
    if names and all(is_name(name) for name in names):
        path = below(ROOT, *names)
        assert path.resolve().relative_to(ROOT).parts == tuple(names)
    else:
        with pytest.raises(errors.InvalidArgumentError) as refused:
            below(ROOT, *names)
        assert refused.value.reason == "INVALID_NAME"


@pytest.mark.parametrize("name", WRONG)
def test_what_could_leave_or_hide_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize("name", ["a", "job-1", "0", "rank-3.log", "a" * 255, "a..b", "Model_1"])
def test_what_platforms_and_people_write_is_a_name(name):
    assert is_name(name)
