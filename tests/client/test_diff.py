"""What lies between two versions, against numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from versions import Writer, content

from tessera import errors
from tessera.client import diff as module
from tessera.client.diff import _E4M3, TensorChange

NAMES = itertools.count()


@pytest.fixture
def commit(platform, parameters):
    """Commits arrays by name; returns `set@version`."""

    def make(arrays, name, *, dtype="F32", ranks=2, views=()):
        writer = Writer(platform, name, ranks=ranks)
        writer.views = dict(views)
        version = writer.commit(content(arrays, dtype=dtype), {})
        writer.client.close()
        return f"{name}@{version.number}"

    return make


def test_each_kind_of_change_is_told(client, commit):
    random = np.random.default_rng(0)
    old = {
        "same": random.standard_normal((6, 4), np.float32),
        "moved": random.standard_normal((5, 3), np.float32),
        "zero": np.zeros(4, np.float32),
        "gone": np.ones(2, np.float32),
        "grown": np.ones((2, 2), np.float32),
    }
    new = {
        "same": old["same"],
        "moved": old["moved"] + np.eye(5, 3, dtype=np.float32),
        "zero": np.array([0, 0, 3, 0], np.float32),
        "grown": np.ones((2, 3), np.float32),
        "come": np.ones(2, np.float32),
    }
    found = client.diff(commit(old, "diff"), commit(new, "diff"))
    assert (found.old.number, found.new.number, found.same) == (1, 2, 1)
    assert (found.removed, found.added) == (("gone",), ("come",))
    assert found.recast == ("grown: F32 [2, 2] → F32 [2, 3]",)
    zero, moved = found.changed
    assert zero == TensorChange(
        name="zero", shape=(4,), dtype="F32", differing=1, norm=0.0, distance=3.0, largest=3.0
    )
    assert zero.relative == np.inf
    assert (moved.name, moved.differing) == ("moved", 3)
    apart = new["moved"].astype(float) - old["moved"].astype(float)
    assert moved.distance == pytest.approx(np.linalg.norm(apart))
    assert moved.relative == pytest.approx(moved.distance / np.linalg.norm(old["moved"]))
    assert moved.largest == pytest.approx(np.abs(apart).max())


def test_what_has_the_same_checksums_is_not_read(client, commit, monkeypatch):
    arrays = {"w": np.arange(12, dtype=np.float32)}
    old, new = commit(arrays, "unread"), commit(arrays, "unread")
    monkeypatch.setattr(module, "pull", None)
    assert client.diff(old, new).same == 1


def test_the_same_bytes_in_other_slices_are_the_same(client, commit):
    arrays = {"w": np.arange(64, dtype=np.float32).reshape(16, 4)}
    old, new = commit(arrays, "cut", ranks=1), commit(arrays, "cut", ranks=3)
    found = client.diff(old, new)
    assert (found.same, found.changed) == (1, ())


def test_slices_of_a_view_are_compared(client, commit, monkeypatch):
    arrays = {"w": np.arange(64, dtype=np.float32).reshape(16, 4)}
    changed = {"w": arrays["w"] + np.eye(16, 4, dtype=np.float32)}
    views = {"w": (4, 4, 4)}
    first, plain = commit(arrays, "seen", views=views), commit(arrays, "seen")
    assert client.diff(first, plain).same == 1
    second = commit(changed, "seen", views=views)
    assert [one.differing for one in client.diff(first, second).changed] == [4]
    again = commit(changed, "seen", views=views)
    monkeypatch.setattr(module, "pull", None)
    assert client.diff(second, again).same == 1


def test_a_tensor_is_read_in_parts(client, commit, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 40)
    random = np.random.default_rng(1)
    old = {"w": random.standard_normal((9, 7), np.float32)}
    new = {"w": random.standard_normal((9, 7), np.float32)}
    seen = []
    names = commit(old, "parts"), commit(new, "parts")
    found = client.diff(*names, progress=lambda *told: seen.append(told))
    apart = new["w"].astype(float) - old["w"].astype(float)
    assert found.changed[0].distance == pytest.approx(np.linalg.norm(apart))
    assert found.changed[0].differing == 63
    assert len(seen) > 5
    assert seen[-1] == (252, 252)


DTYPES = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I32": torch.int32,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(dtype=st.sampled_from(sorted(DTYPES)), seed=st.integers(0, 2**32))
def test_values_are_those_of_torch(dtype, seed):
    """Whatever bits: of those that are no number, nothing is said here."""
    kind = DTYPES[dtype]
    bits = np.random.default_rng(seed).integers(0, 256, 64 * kind.itemsize, np.uint8)
    if kind == torch.bool:
        bits &= 1
    theirs = torch.from_numpy(bits).view(kind).to(torch.float64).numpy()
    ours = module._numbers(bits.view(module.numpy_name(dtype)), dtype)
    np.testing.assert_array_equal(ours, theirs)


def test_every_number_of_e4m3_is_known():
    theirs = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).to(torch.float64)
    np.testing.assert_array_equal(_E4M3, theirs.numpy())


def test_what_is_not_there_is_named(client, commit):
    one = commit({"w": np.ones(2, np.float32)}, "lone")
    for wrong, reason in (("lone@9", "VERSION_NOT_FOUND"), ("nothing", "SET_NOT_FOUND")):
        with pytest.raises(errors.NotFoundError) as caught:
            client.diff(one, wrong)
        assert caught.value.reason == reason
    with pytest.raises(errors.NotFoundError) as caught:
        client.diff(one, one, group="ema")
    assert caught.value.reason == "GROUP_NOT_FOUND"
