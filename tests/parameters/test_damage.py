"""Whatever happens to the files of a shard: nothing is deleted, nothing wrong is given as good."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.data_folder import DataFolder
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.index_file import read_index, write_index
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.push_stream import Announced, PushStream
from tessera.parameters.reading import Item, Reading
from tessera.parameters.slice_store import SliceStore
from tessera.weights.blocks import SliceHasher
from tessera.weights.box import Box

SHAPE = (96, 40)
WHOLE = Box.whole(SHAPE)
SETS = ("default/a", "default/b", "other/c")
FAULTS = {"CHECKSUM_MISMATCH", "SHORT_FILE", "PIECE_LOST", "INDEX_DAMAGED"}


@pytest.fixture(scope="module", autouse=True)
def small():
    """Spans, of which a slice of a few KiB has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tessera.parameters.reading.SPAN_BYTES", 4096)
        yield


def matrix(name):
    return np.random.default_rng(len(name) + ord(name[-1])).standard_normal(SHAPE, np.float32)


def fill(root):
    """A shard with three sets; a version each, of two ranks and two groups."""
    inbox = Inbox(SliceStore(LocalVault(root)), BufferPool(4 * BLOCK_BYTES))
    for name in SETS:
        data = matrix(name)
        for rank in range(2):
            target = Target(set=name, version=1, epoch=1, rank=rank)
            stream = PushStream(inbox, target, "shard-0", block_bytes=1024)
            for tensor, group in enumerate(("model", "optimizer")):
                raw = np.frombuffer(data[48 * rank : 48 * (rank + 1)].tobytes(), np.uint8)
                hasher = SliceHasher()
                hasher.update(raw)
                box = Box((48 * rank, 0), (48, 40))
                checksum, _ = hasher.finish()
                stream.announce(
                    [Announced(tensor=tensor, group=group, box=box, size=raw.size,
                               checksum=checksum)]
                )  # fmt: skip
                stream.take(raw)
            stream.finish()
        inbox.persist((name, 1))
    return {name: inbox._store.slices((name, 1)) for name in SETS}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    root = tmp_path_factory.mktemp("shard")
    return root, fill(root)


def boxes(dice):
    """A part of a slice: rows, columns, all of it."""
    low = [dice.randint(0, 47), dice.randint(0, 39)]
    size = [dice.randint(1, 48 - low[0]), dice.randint(1, 40 - low[1])]
    return dice.choice([Box((0, 0), (48, 40)), Box(tuple(low), tuple(size))])


def read(store, name, source, box):
    item = Item(piece=source.piece, offset=source.offset, extents=(48, 40), element_size=4, box=box)
    return b"".join(part.tobytes() for part in Reading(store, (name, 1), [item]).blocks())


def good(name, source, box):
    rows = source.box.offsets[0]
    return matrix(name)[rows : rows + 48][box.slices].tobytes()


def all_files(root):
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def flip(path, dice):
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def truncate(path, dice):
    with path.open("r+b") as file:
        file.truncate(dice.randrange(path.stat().st_size))


def swap(path, dice):
    others = [other for other in path.parent.iterdir() if other != path]
    other = dice.choice(others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def grow(path, dice):
    with path.open("ab") as file:
        file.write(dice.randbytes(100))


DAMAGE = {"flip": flip, "truncate": truncate, "swap": swap, "grow": grow}


def harm(root: Path, kind: str, dice: random.Random) -> str:
    """Damage a file, and say which set it is of."""
    path = dice.choice([path for path in sorted(root.rglob("*")) if path.is_file()])
    if kind == "delete":
        path.unlink()
    else:
        DAMAGE[kind](path, dice)
    return "/".join(path.relative_to(root).parts[:2])


def outcome(store, name, source, box):
    """Bytes, or the reason why there are none."""
    try:
        return read(store, name, source, box)
    except errors.TesseraError as error:
        return error.reason


def check(slices, victim, store, dice):
    for name in SETS:
        for source in slices[name]:
            box = boxes(dice)
            got = outcome(store, name, source, box)
            if got != good(name, source, box):
                assert got in FAULTS
                assert name == victim, "every other set is served"


@settings(max_examples=120, deadline=None)
@given(kind=st.sampled_from([*DAMAGE, "delete"]), seed=st.integers(0, 2**32), runs=st.booleans())
def test_any_file(filled, tmp_path_factory, kind, seed, runs):
    """Damaged while the shard runs, or before it starts."""
    kept, slices = filled
    root, dice = tmp_path_factory.mktemp("damaged") / "shard", random.Random(seed)
    shutil.copytree(kept, root)
    store = SliceStore(LocalVault(root)) if runs else None
    victim = harm(root, kind, dice)
    there = all_files(root)
    try:
        store = store or SliceStore(LocalVault(root))
        check(slices, victim, store, dice)
        again = SliceStore(LocalVault(root))
        check(slices, victim, again, dice)
        again.close()
        store.close()
        assert all_files(root) == there
    finally:
        shutil.rmtree(root.parent)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(kind=st.sampled_from([*DAMAGE, "delete"]), seed=st.integers(0, 2**32), runs=st.booleans())
def test_any_file_at_length(filled, tmp_path_factory, kind, seed, runs):
    test_any_file.hypothesis.inner_test(filled, tmp_path_factory, kind, seed, runs)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_part_of_a_slice_that_is_whole(filled, seed):
    root, slices = filled
    dice, store = random.Random(seed), SliceStore(LocalVault(root))
    for name in SETS:
        for source in slices[name]:
            box = boxes(dice)
            assert read(store, name, source, box) == good(name, source, box)
    store.close()


def test_an_index_with_too_few_checksums_is_a_damaged_one(filled, tmp_path):
    """Be it what was written: nothing that it names can be verified."""
    root = Path(shutil.copytree(filled[0], tmp_path / "shard"))
    vault, name = LocalVault(root), f"{SETS[0]}/1/0.index"
    contents = {
        key: [replace(source, blocks=source.blocks[:-1]) for source in slices]
        for key, slices in read_index(vault, name).items()
    }
    write_index(vault, name, contents)
    store = SliceStore(vault)
    folders = store.held(SETS[0]).values()
    assert {one.reason for folder in folders for one in folder.damage} == {"INDEX_DAMAGED"}
    store.close()


def test_a_folder_is_of_one_process_at_a_time(tmp_path):
    first = DataFolder(tmp_path / "shard")
    with pytest.raises(errors.FailedPreconditionError) as caught:
        DataFolder(tmp_path / "shard")
    assert caught.value.reason == "DATA_FOLDER_IN_USE"
    first.close()
    DataFolder(tmp_path / "shard").close()


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_parts_of_any_length_have_the_checksums_of_the_whole(sizes):
    parts = [np.frombuffer(random.Random(size).randbytes(size), np.uint8) for size in sizes]
    whole, apart = SliceHasher(1024), SliceHasher(1024)
    for part in parts:
        apart.update(part)
    whole.update(np.concatenate([*parts, np.empty(0, np.uint8)]))
    assert apart.finish() == whole.finish()
