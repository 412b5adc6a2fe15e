"""Any order of calls, with a crash at any step: a model says what must be there, and what may be.

Two tenants, two writers of each set, two shards, as real as they are but for the sockets. A crash
is the end of all of them, at some fsync, rename, deletion or transaction; a lost coordinator starts
without its folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tessera import errors
from tessera.meter import NoMeter
from tessera.parameters import sqlite_file
from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.push_stream import Announced, PushStream
from tessera.parameters.quota import DEFAULT
from tessera.parameters.reading import Item, Reading
from tessera.parameters.services.shard import ShardControl
from tessera.parameters.shards import Shards
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.store import Store, Writer
from tessera.parameters.store_id import StoreId
from tessera.parameters.versions import Versions
from tessera.weights.box import Box
from tessera.weights.manifest import ShardAddress, TensorSpec

SHARDS = ("shard-0", "shard-1")
SETS = ("a/gpt", "b/gpt")
JOBS = ("j1", "j2")
KEEP = 2
TENSORS = (
    TensorSpec(group="model", name="w", shape=(5, 4), dtype="U8"),
    TensorSpec(group="optimizer", name="m", shape=(3,), dtype="U8"),
)


class Crash(BaseException):
    """The end of every process."""


class Fuse:
    """Counts the steps that touch a disk; at one of them, and at all that follow, it crashes."""

    def __init__(self):
        self.left = None

    def burn(self):
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise Crash

    def before(self, call):
        def burning(*args, **kwargs):
            self.burn()
            return call(*args, **kwargs)

        return burning


FUSE = Fuse()


@pytest.fixture(scope="module", autouse=True)
def wired():
    transaction = sqlite_file.SQLiteFile.transaction

    @contextlib.contextmanager
    def burning(self):
        FUSE.burn()
        with transaction(self) as db:
            yield db
            FUSE.burn()
        FUSE.burn()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", FUSE.before(os.fsync))
        patch.setattr(shutil, "rmtree", FUSE.before(shutil.rmtree))
        for name in ("rename", "unlink"):
            patch.setattr(Path, name, FUSE.before(getattr(Path, name)))
        patch.setattr(sqlite_file.SQLiteFile, "transaction", burning)
        yield


class DirectShards(Shards):
    """Clients of shards in this process: messages as on the wire, but no wire."""

    def __init__(self, controls):
        super().__init__("", "", SHARDS)
        self._controls = controls

    async def addresses(self, *, wait):
        return [ShardAddress(name=name, data_address="") for name in SHARDS]

    async def _call(self, shard, method, request, seconds):
        sent = type(request).FromString(request.SerializeToString())
        return await getattr(self._controls[shard], method)(sent, None)


class World:
    """All processes of a parameter service."""

    def __init__(self, root):
        self.root = root
        self.loop = asyncio.new_event_loop()
        self.start()

    def start(self):
        self.inboxes, self.stores, self.controls = {}, {}, {}
        for name in SHARDS:
            store = SliceStore(self.root / name)
            self.stores[name] = store
            self.inboxes[name] = Inbox(store, BufferPool(2 * BLOCK_BYTES))
            owner = StoreId(self.root / name)
            self.controls[name] = ShardControl(name, self.inboxes[name], store, owner, NoMeter())
        self.start_coordinator()

    def start_coordinator(self):
        store = Store(self.root / "coordinator" / "coordinator.db", SHARDS)
        self.versions = Versions(store, DirectShards(self.controls), NoMeter(), DEFAULT)
        self.run(self.versions._reconciler.start())
        self.run(self.versions._reconciler.done())

    def end(self):
        """Kill them: nothing is tidied up."""
        self.end_coordinator()
        for store in self.stores.values():
            store.close()

    def end_coordinator(self):
        # What other threads are at comes to its next step, and no further.
        left = asyncio.all_tasks(self.loop)
        if left:
            self.run(asyncio.wait(left))
        FUSE.left = None
        self.run(self.versions._reconciler.stop())
        self.versions._thread.shutdown()
        self.versions.store._database._connection.close()

    def close(self):
        self.end()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def push(self, target_of, seed):
        """Both tensors, their rows dealt out to ranks and shards."""
        for number, tensor in enumerate(TENSORS):
            data = content(seed, tensor)
            for rank, shard in enumerate(SHARDS):
                rows = tensor.shape[0]
                low, high = rows * rank // 2, rows * (rank + 1) // 2
                box = Box((low, *[0] * (len(tensor.shape) - 1)), (high - low, *tensor.shape[1:]))
                part = data.reshape(tensor.shape)[low:high].reshape(-1)
                # One stream for each rank and shard; the rank tells tensors of a shard apart.
                target = target_of(2 * rank + number)
                stream = PushStream(self.inboxes[shard], target, shard)
                checksum = xxhash.xxh3_64_intdigest(part.tobytes())
                stream.announce(
                    [Announced(tensor=number, group=tensor.group, box=box, size=part.size,
                               checksum=checksum)]
                )  # fmt: skip
                stream.take(part)
                stream.finish()

    def read(self, name, number):
        """What readers get of a version, by tensor."""
        manifest = self.run(
            self.versions.ask(self.versions.store.reader.manifest, name, number, [], 0)
        )
        found = {t.name: np.zeros(t.shape, np.uint8) for t in manifest.tensors}
        for source in manifest.slices:
            tensor = manifest.tensors[source.tensor]
            item = Item(
                piece=source.piece, offset=source.offset, extents=source.box.extents,
                element_size=1, box=Box.whole(source.box.extents),
            )  # fmt: skip
            reading = Reading(self.stores[source.shard], (name, number), [item])
            raw = b"".join(part.tobytes() for part in reading.blocks())
            found[tensor.name][source.box.slices] = np.frombuffer(raw, np.uint8).reshape(
                source.box.extents
            )
        return manifest, found


def content(seed, tensor):
    return np.random.default_rng([seed, len(tensor.name), *tensor.shape]).integers(
        0, 256, tensor.size, np.uint8
    )


@dataclass
class Known:
    """What the model knows of a set."""

    committed: dict[int, int] = field(default_factory=dict)  # number → seed
    maybe: dict[int, int] = field(default_factory=dict)  # …, of a commit that crashed
    pinned: set[int] = field(default_factory=set)
    highest: int = 0
    epochs: dict[str, int] = field(default_factory=dict)  # by job; the last one is the writer's
    writer: str = ""
    open: dict[str, tuple[int, int, str]] = field(default_factory=dict)  # job → number, seed, state


crashes = st.none() | st.none() | st.integers(0, 40)


class Life(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp(prefix="life-"))
        self.world = World(self.root)
        self.known = {name: Known() for name in SETS}
        self.seed = 0

    def teardown(self):
        if hasattr(self, "world"):
            self.world.close()
            shutil.rmtree(self.root)

    def call(self, crash, work):
        """What a call returned; None: it crashed, and everything was started again."""
        FUSE.left = crash
        try:
            return self.world.run(work())
        except Crash:
            self.restart()
            return None
        finally:
            FUSE.left = None

    def restart(self):
        self.world.end()
        self.world.start()
        for known in self.known.values():
            known.open = {job: (n, s, "lost") for job, (n, s, _) in known.open.items()}

    def writer(self, name, job):
        return Writer(set=name, epoch=self.known[name].epochs.get(job, 0), holder=job)

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def acquire(self, name, job, crash):
        known = self.known[name]

        def work():
            return self.world.versions.acquire(name, job, 1, KEEP, job)

        # Whether or not it had been heard when everything crashed, it is asked for again.
        grant = self.call(crash, work) or self.call(None, work)
        assert grant.epoch > max(known.epochs.values(), default=0)
        known.writer, known.epochs[job] = job, grant.epoch
        known.open.clear()

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def open(self, name, job, crash):
        known = self.known[name]
        seed = self.seed = self.seed + 1

        async def work():
            return await self.world.versions.open(
                self.writer(name, job), 1, TENSORS, {"a": bytes([seed % 256])}, {"seed": str(seed)}
            )

        if known.writer != job:
            self.refused(known, job, work)
            return
        opened = self.call(crash, work)
        known.open.pop(job, None)
        if opened:
            number = opened[0]
            assert number > known.highest, "numbers never go back"
            known.highest = number
            known.open[job] = (number, seed, "open")

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS))
    def push(self, name, job):
        known = self.known[name]
        number, seed, state = known.open.get(job, (0, 0, ""))
        if state not in {"open", "lost"}:
            return
        epoch = known.epochs[job]
        with contextlib.suppress(errors.FailedPreconditionError):  # Sealed already.
            self.world.push(
                lambda rank: Target(set=name, version=number, epoch=epoch, rank=rank), seed
            )
        known.open[job] = (number, seed, "pushed")

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def seal(self, name, job, crash):
        known = self.known[name]
        number, seed, state = known.open.get(job, (0, 0, ""))
        if not number:
            return

        async def work():
            return await self.world.versions.seal(self.writer(name, job), number)

        if known.writer != job:
            self.refused(known, job, work)
            return
        try:
            sealed = self.call(crash, work)
        except errors.FailedPreconditionError as error:
            assert error.reason in {"INCOMPLETE", "VERSION_ABORTED"}  # noqa: PT017
            assert state in {"open", "lost"}, "what was pushed is there"
            return
        if sealed:
            known.open[job] = (number, seed, "sealed")

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def commit(self, name, job, crash):
        known = self.known[name]
        number, seed, state = known.open.get(job, (0, 0, ""))
        if not number:
            return

        async def work():
            return await self.world.versions.commit(self.writer(name, job), number)

        if known.writer != job:
            self.refused(known, job, work)
            return
        try:
            version = self.call(crash, work)
        except errors.FailedPreconditionError as error:
            assert error.reason == "NOT_SEALED"  # noqa: PT017
            assert state != "sealed"
            return
        del known.open[job]
        if version:
            known.committed[number] = seed
        else:
            known.maybe[number] = seed

    @rule(name=st.sampled_from(SETS), crashes=st.lists(crashes, min_size=4, max_size=4))
    def publish(self, name, crashes):
        """All of it, by whoever writes now."""
        job = self.known[name].writer or JOBS[0]
        if not self.known[name].writer:
            self.acquire(name, job, crashes[0])
        self.open(name, job, crashes[1])
        self.push(name, job)
        self.seal(name, job, crashes[2])
        self.commit(name, job, crashes[3])

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def abort(self, name, job, crash):
        known = self.known[name]
        number, *_ = known.open.pop(job, (0, 0, ""))
        if number and known.writer == job:
            writer = self.writer(name, job)
            self.call(crash, lambda: self.world.versions.abort(writer, number))

    @rule(crash=crashes)
    def tidy(self, crash):
        self.call(crash, self.world.versions._tidy)

    @rule(name=st.sampled_from(SETS))
    def pin(self, name):
        known, retention = self.known[name], self.world.versions.store.retention
        number = max(known.committed, default=0)
        if number:
            self.world.run(self.world.versions.ask(retention.pin, name, number, "me", 3600.0))
            known.pinned.add(number)

    @rule(name=st.sampled_from(SETS))
    def release(self, name):
        known, retention = self.known[name], self.world.versions.store.retention
        for number in known.pinned:
            self.world.run(self.world.versions.ask(retention.release, name, number, "me"))
        known.pinned.clear()

    @rule()
    def crash(self):
        self.restart()

    @rule(alone=st.booleans())
    def lose_coordinator(self, alone):
        """The shards live on, or start again, too."""
        if alone:
            self.world.end_coordinator()
        else:
            self.world.end()
        shutil.rmtree(self.root / "coordinator")
        if alone:
            self.world.start_coordinator()
        else:
            self.world.start()
        for known in self.known.values():
            # What no shard has heard of was never anywhere.
            pushed = [number for number, _, state in known.open.values() if state == "pushed"]
            known.highest = max(
                [*known.committed, *known.maybe, *(pushed if alone else ())], default=0
            )
            known.writer = ""
            known.open.clear()
            # Its pins are not known any more, but for a while nothing is dropped.

    def refused(self, known, job, work):
        """Whoever is not the writer any more changes nothing."""
        with pytest.raises(errors.TesseraError) as caught:
            self.world.run(work())
        assert caught.value.reason in {"FENCED", "SET_NOT_FOUND", "VERSION_NOT_FOUND"}

    @invariant()
    def what_is_committed_is_there_and_nothing_else(self):
        if not hasattr(self, "world"):
            return
        for name, known in self.known.items():
            if not known.committed and not known.maybe:
                continue
            reader = self.world.versions.store.reader
            try:
                versions = self.world.run(self.world.versions.ask(reader.versions, name, 0, 100))
            except errors.NotFoundError:
                versions = []
            numbers = {version.number for version in versions}
            # A commit that crashed has happened, or has not, and is what it was from now on.
            for number, seed in known.maybe.items():
                if number in numbers:
                    known.committed[number] = seed
            known.maybe.clear()
            newest = sorted(known.committed)[-KEEP:]
            assert numbers <= known.committed.keys()
            assert numbers >= {*newest, *known.pinned}
            for version in versions:
                assert version.damaged_groups == ()
                self.check(name, version.number, known.committed[version.number])

    def check(self, name, number, seed):
        manifest, found = self.world.read(name, number)
        assert manifest.assets == {"a": bytes([seed % 256])}
        for tensor in TENSORS:
            assert found[tensor.name].tobytes() == content(seed, tensor).tobytes()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.slow
@pytest.mark.timeout(1200)
class TestLifeAtLength(Life.TestCase):
    settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
