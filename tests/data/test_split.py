"""What is trained on and what is held out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tessera.data.split import Text, split


@given(
    st.lists(st.text("abc", min_size=1, max_size=8), min_size=2, max_size=30, unique=True),
    st.floats(0.01, 0.99),
)
def test_a_split_by_file_is_stable_and_has_two_parts(names, share):
    texts = [Text(name=name, content=f"text of {name}") for name in names]
    kept, apart = split(texts, share)
    assert kept
    assert apart
    assert sorted(t.name for t in [*kept, *apart]) == sorted(names)
    again, _ = split([*texts, Text(name="new!", content="x")], share)
    if len(kept) > 1 and len(apart) > 1 and len(names) > 4:
        assert {t.name for t in kept} <= {t.name for t in again}


def test_a_single_file_gives_its_tail():
    kept, apart = split([Text(name="a", content="0123456789" * 10)], 0.2)
    assert kept[0].content + apart[0].content == "0123456789" * 10
    assert len(apart[0].content) == 20
