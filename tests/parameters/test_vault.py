"""What every vault keeps to, and what is particular to the one on a folder."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from memory_vault import MemoryVault
from pushes import noise

from tessera import errors
from tessera.parameters.lane import Lane
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.store_id import StoreId
from tessera.parameters.vault import OWNER
from tessera.weights.descriptors import boot_id

FOLDER = "a/gpt/1"
NAME = f"{FOLDER}/0-model-1.bin"
OTHER = "a/gpt/2/0-model-2.bin"


def write(vault, data, name=NAME):
    file = vault.create(name)
    file.write_at(data, 0)
    file.sync()
    return file


def content(file):
    """All of an open file, which is closed then."""
    data, filled = np.zeros(file.size, np.uint8), 0
    while filled < data.size:
        filled += file.read_into(data[filled:], filled)
    assert file.read_into(np.zeros(1, np.uint8), filled) == 0
    file.close()
    return data.tobytes()


def test_a_file_is_there_when_it_is_committed_and_not_before(open_vault):
    vault, data = open_vault(), noise(10_000)
    file = write(vault, data)
    for seen in (vault, open_vault()):
        assert seen.files(FOLDER) == []
        with pytest.raises(FileNotFoundError):
            seen.open(NAME)
    file = write(vault, data)
    file.commit()
    file.discard()
    for seen in (vault, open_vault()):
        assert (seen.files(FOLDER), seen.folders("a")) == (["0-model-1.bin"], ["gpt"])
        assert content(seen.open(NAME)) == data.tobytes()


def test_one_that_is_given_up_leaves_nothing(open_vault, tmp_path):
    vault = open_vault()
    write(vault, noise(10)).discard()
    vault.create(OTHER).discard()
    assert (vault.files(FOLDER), vault.folders("a/gpt/2")) == ([], [])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    empty = vault.create(NAME)
    empty.sync()
    empty.commit()
    assert content(vault.open(NAME)) == b""


def test_threads_write_one_file_in_any_order(open_vault):
    vault, data = open_vault(), noise(1 << 20)
    file, starts = vault.create(NAME), range(0, data.size, 10_007)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda at: file.write_at(data[at : at + 10_007], at), reversed(starts)))
    file.sync()
    file.commit()
    assert content(vault.open(NAME)) == data.tobytes()


def test_it_takes_the_place_of_another_and_what_is_open_is_read_on(open_vault):
    vault, old, new = open_vault(), noise(100), noise(50, 2)
    write(vault, old).commit()
    reading = vault.open(NAME)
    write(vault, new).commit()
    later = vault.open(NAME)
    vault.remove(NAME)
    vault.remove(NAME)
    assert (content(reading), content(later)) == (old.tobytes(), new.tobytes())
    with pytest.raises(FileNotFoundError):
        vault.open(NAME)


def test_small_files_are_replaced_renamed_and_removed_with_their_folder(open_vault):
    vault, small = open_vault(), f"{FOLDER}/manifest"
    with pytest.raises(FileNotFoundError):
        vault.replace(small, b"a")
    vault.make_folder(FOLDER)
    vault.make_folder(FOLDER)
    assert (vault.folders(), vault.folders("a/gpt"), vault.files(FOLDER)) == (["a"], ["1"], [])
    vault.replace(small, b"a", b"b")
    vault.replace(small, b"c", b"d")
    assert open_vault().read(small) == b"cd"
    vault.rename(small, f"{small}.stray")
    for gone in (lambda: vault.read(small), lambda: vault.rename(small, small)):
        with pytest.raises(FileNotFoundError):
            gone()
    assert vault.files(FOLDER) == ["manifest.stray"]
    vault.remove_folder(FOLDER)
    vault.remove_folder(FOLDER)
    assert (vault.folders("a"), vault.folders("a/gpt"), vault.files(FOLDER)) == (["gpt"], [], [])
    assert vault.free_bytes > 0


def test_a_link_has_the_bytes_whatever_becomes_of_the_other(open_vault):
    vault, data = open_vault(), noise(100)
    write(vault, data).commit()
    try:
        link = vault.link(NAME, OTHER)
    except OSError:
        assert isinstance(vault, MemoryVault), "there are vaults that cannot"
        return
    vault.remove_folder(FOLDER)
    assert vault.files("a/gpt/2") == []
    assert content(link.open()) == data.tobytes()
    link.commit()
    assert content(open_vault().open(OTHER)) == data.tobytes()
    with pytest.raises(FileNotFoundError):
        vault.link(NAME, OTHER)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a/.", "", "a//b", "a/.store", ".x"])
def test_names_that_lead_elsewhere_are_refused_by_every_method(open_vault, name):
    vault = open_vault()
    methods = [
        vault.files, vault.make_folder, vault.remove_folder, vault.read, vault.replace,
        vault.create, vault.open, vault.remove, lambda name: vault.rename(NAME, name),
    ]  # fmt: skip
    if name:
        methods.append(vault.folders)
    if isinstance(vault, LocalVault):
        methods += [vault.descriptor, lambda name: vault.link(name, NAME)]
    for method in methods:
        with pytest.raises(errors.InvalidArgumentError) as caught:
            method(name)
        assert caught.value.reason == "INVALID_NAME"


def test_a_vault_is_one_stores(open_vault):
    StoreId(open_vault()).require("1" * 32)
    again = StoreId(open_vault())
    assert again.value == "1" * 32
    with pytest.raises(errors.FailedPreconditionError):
        again.require("2" * 32)
    open_vault().replace(OWNER, b"damaged")
    assert StoreId(open_vault()).value == ""


def test_a_vault_without_descriptors_offers_nothing(open_vault, tmp_path):
    store = SliceStore(open_vault())
    tmp_path.joinpath("shard-0").mkdir(exist_ok=True)
    lane = Lane(store, tmp_path / "shard-0")
    lane.start()
    try:
        if store.vault.has_descriptors:
            assert lane.offer(("a/gpt", 1), ["p"], boot_id())
        else:
            with pytest.raises(errors.FailedPreconditionError) as caught:
                lane.offer(("a/gpt", 1), ["p"], boot_id())
            assert caught.value.reason == "NO_LANE"
            assert lane.share("a/gpt", boot_id()), "memory of a push is taken all the same"
    finally:
        lane.stop()
        store.close()


# --- the one on a folder ---


def test_the_order_of_the_steps(tmp_path, monkeypatch):
    """Bytes, then their names, then what counts on them."""
    vault, steps = LocalVault(tmp_path), []
    vault.make_folder(FOLDER)
    fsync, rename = os.fsync, Path.rename

    def named(path):
        return "part" if path.name.endswith(".tmp") else path.name

    def synced(descriptor):
        steps.append(f"sync {named(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def renamed(path, target):
        steps.append(f"rename {named(path)} {named(target)}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    write(vault, noise(10)).commit()
    vault.replace(f"{FOLDER}/0.index", b"")
    assert steps == [
        "sync part", "rename part 0-model-1.bin",
        "sync part", "sync 1", "rename part 0.index", "sync 1",
    ]  # fmt: skip


def test_bytes_are_for_their_owners_eyes(tmp_path):
    vault = LocalVault(tmp_path)
    write(vault, noise(10)).commit()
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_no_descriptor_of_what_a_symlink_leads_to(tmp_path):
    vault = LocalVault(tmp_path)
    write(vault, noise(10)).commit()
    os.close(vault.descriptor(NAME))
    (tmp_path / FOLDER / "other.bin").symlink_to(tmp_path / NAME)
    with pytest.raises(OSError, match="symbolic"):
        vault.descriptor(f"{FOLDER}/other.bin")


def test_what_is_none_of_a_vaults_is_not_listed(tmp_path):
    vault = LocalVault(tmp_path)
    (tmp_path / ".lane").mkdir()
    (tmp_path / "lost+found").mkdir()
    vault.make_folder(FOLDER)
    for name in (".hidden", "0-model-1.tmp", "with space", "manifest"):
        (tmp_path / FOLDER / name).write_bytes(b"")
    assert (vault.folders(), vault.files(FOLDER)) == (["a"], ["manifest"])
    assert (vault.files(f"{FOLDER}/manifest"), vault.folders("b")) == ([], [])


def test_what_fails_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    vault = LocalVault(tmp_path)
    file = write(vault, noise(10))
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("broken")))
    with pytest.raises(OSError, match="broken"):
        file.commit()
    file.discard()
    assert not list((tmp_path / FOLDER).iterdir())
