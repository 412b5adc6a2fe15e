"""What may be forgotten, and what never."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.parameters.retention import (
    Drop,
    Held,
    footprint,
    outdated,
    protected_bytes,
    shrink,
    total_bytes,
)

SIZES = {"model": 10, "optimizer": 20, "state": 1}


def held(number, name="a", pinned=False, groups=SIZES):
    return Held(set=name, number=number, commit_time=number, pinned=pinned, groups=groups)


def test_the_newest_are_kept_and_pins_are_honoured():
    versions = [held(n, pinned=n == 2) for n in range(1, 6)]
    drops = outdated(versions, {"a": 2})
    assert {(d.number, d.whole) for d in drops} == {(1, True), (3, True)}


def test_where_room_is_needed_optimizer_and_state_go_first_oldest_first():
    versions = [held(n) for n in (1, 2, 3)]
    assert shrink(versions, 0) == []
    (drop,) = shrink(versions, 13)
    assert drop == Drop(set="a", number=1, groups=("optimizer", "state"), whole=False)
    drops = {d.number: d for d in shrink(versions, 48)}
    assert drops[1].whole
    assert drops[2].groups == ("optimizer", "state")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), min_size=1, max_size=12
    ),
    st.integers(0, 400),
    st.integers(1, 4),
)
def test_newest_and_pinned_stay_and_room_is_made_if_it_can_be(found, most, keep):
    versions = [
        held(i + 1, name, pinned, SIZES if whole else {"model": 10})
        for i, (name, pinned, whole) in enumerate(found)
    ]
    newest = {v.set: v.number for v in versions}
    gone = {(d.set, d.number) for d in outdated(versions, {"a": keep, "b": keep})}
    kept = [v for v in versions if (v.set, v.number) not in gone]
    for version in versions:
        newer = sum(v.set == version.set and v.number > version.number for v in versions)
        assert (version in kept) == (version.pinned or newer < keep)
    by_key = {(d.set, d.number): d for d in shrink(kept, total_bytes(kept) - most)}
    left = 0
    for version in kept:
        drop = by_key.get((version.set, version.number))
        if version.pinned or version.number == newest[version.set]:
            assert drop is None
        if drop is None:
            left += version.size
        elif not drop.whole:
            left += sum(s for g, s in version.groups.items() if g not in drop.groups)
    assert left <= max(most, protected_bytes(versions))
    assert footprint(kept, 0) == total_bytes(kept) >= protected_bytes(kept)


def test_a_service_under_its_cap_gives_up_what_it_may(platform, tmp_path, another):
    writer = another()
    size = sum(tensor.size for tensor in writer.tensors)
    cap = int(2.6 * size)
    platform.start_parameters(tmp_path, disk_cap_bytes=cap)
    try:
        writer.acquire(keep=10)
        for seed in (1, 2, 3, 4):
            writer.publish(seed)
            assert sum(v.size for v in writer.client.list_versions(writer.set)) <= cap
        newest, _, older = writer.client.list_versions(writer.set)
        assert set(newest.groups) == {"model", "optimizer", "state"}
        assert older.groups == ("model",)
        assert writer.read(older.number)[0] == 2
        with pytest.raises(errors.NotFoundError) as caught:
            writer.read(older.number, ["optimizer"])
        assert caught.value.reason == "GROUP_DROPPED"
        writer.client.pin_version(writer.set, newest.number, "me", 60)
        writer.publish(5)
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            writer.open(6)
        assert caught.value.reason == "DISK_CAP"
        assert writer.check() == 5
    finally:
        platform.stop_parameters()
