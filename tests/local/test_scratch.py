"""Room for Ray: folders with short names, and shared memory."""

from __future__ import annotations

import os
import tempfile
from collections import namedtuple

import pytest

from tessera import errors
from tessera.local import scratch


def test_a_folder_of_our_own(monkeypatch):
    made = scratch.temp_dir()
    assert made.stat().st_mode & 0o077 == 0
    assert scratch.ray_dir(made).parent == made, "Ray opens its own folder to everybody"
    assert len(os.fsencode(made)) < 40
    made.rmdir()


@pytest.mark.parametrize("name", ["long-" * 20, "é" * 40, "gone"], ids=["long", "wide", "gone"])
def test_a_folder_that_cannot_be(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    if name != "gone":
        folder.mkdir()
    monkeypatch.setattr(scratch.os, "access", lambda *_: False)  # No /tmp that can be written.
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(errors.UnavailableError, match="set TMPDIR") as caught:
        scratch.temp_dir()
    assert caught.value.reason == "TEMP_DIR_UNUSABLE"
    assert not folder.exists() or not list(folder.iterdir())


def test_small_shared_memory_is_told(monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: usage(64 << 20, 0, 64 << 20))
    assert "64 MiB left of the 256" in scratch.small_shared_memory()
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: usage(1 << 30, 0, 1 << 30))
    assert scratch.small_shared_memory() == ""
    monkeypatch.setattr(scratch, "_SHARED_MEMORY", "/no/such/place")
    monkeypatch.undo()
    monkeypatch.setattr(scratch, "_SHARED_MEMORY", "/no/such/place")
    assert scratch.small_shared_memory() == ""
