"""What may be forgotten, and what never."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.parameters.retention import Drop, Held, protected_bytes, retain

SIZES = {"model": 10, "optimizer": 20, "state": 1}


def held(number, name="a", pinned=False, groups=SIZES):
    return Held(set=name, number=number, commit_time=number, pinned=pinned, groups=groups)


def test_the_newest_are_kept_and_pins_are_honoured():
    versions = [held(n, pinned=n == 2) for n in range(1, 6)]
    drops = retain(versions, {"a": 2}, None)
    assert {(d.number, d.whole) for d in drops} == {(1, True), (3, True)}


def test_over_the_cap_optimizer_and_state_go_first_oldest_first():
    versions = [held(n) for n in (1, 2, 3)]
    assert retain(versions, {"a": 9}, 93) == []
    (drop,) = retain(versions, {"a": 9}, 80)
    assert drop == Drop(set="a", number=1, groups=("optimizer", "state"), whole=False)
    drops = {d.number: d for d in retain(versions, {"a": 9}, 45)}
    assert drops[1].whole
    assert drops[2].groups == ("optimizer", "state")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), min_size=1, max_size=12
    ),
    st.integers(0, 400),
    st.integers(0, 100),
    st.integers(1, 4),
)
def test_newest_and_pinned_stay_and_the_cap_is_met_if_it_can_be(found, cap, needed, keep):
    versions = [
        held(i + 1, name, pinned, SIZES if whole else {"model": 10})
        for i, (name, pinned, whole) in enumerate(found)
    ]
    drops = {(d.set, d.number): d for d in retain(versions, {"a": keep, "b": keep}, cap, needed)}
    newest = {v.set: v.number for v in versions}
    left = needed
    for version in versions:
        drop = drops.get((version.set, version.number))
        if version.pinned or version.number == newest[version.set]:
            assert drop is None
        if drop is None:
            left += version.size
        elif not drop.whole:
            left += sum(s for g, s in version.groups.items() if g not in drop.groups)
    assert left <= max(cap, protected_bytes(versions) + needed)


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
