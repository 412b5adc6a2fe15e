"""Any order of calls, with a crash at any step: a model says what must be there, and what may be.

Two tenants, two writers of each set, two shards, as real as they are but for the sockets. A crash
is the end of all of them, at some fsync, rename, deletion or transaction; a lost coordinator starts
without its folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tessera import errors
from tessera.parameters import sqlite_file
from tessera.parameters.inbox import Target
from tessera.parameters.writer import Writer

from .crashing_service import FUSE, TENSORS, Crash, World, content

SETS = ("a/gpt", "b/gpt")
JOBS = ("j1", "j2")
KEEP = 2


@pytest.fixture(scope="module", autouse=True)
def wired():
    transaction = sqlite_file.SQLiteFile.transaction

    @contextlib.contextmanager
    def burning(self):
        FUSE.burn(self.path)
        with transaction(self) as db:
            yield db
            FUSE.burn(self.path)
        FUSE.burn(self.path)

    def path_of(descriptor):
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", FUSE.before(os.fsync, path_of))
        patch.setattr(shutil, "rmtree", FUSE.before(shutil.rmtree))
        for name in ("rename", "unlink"):
            patch.setattr(Path, name, FUSE.before(getattr(Path, name)))
        patch.setattr(sqlite_file.SQLiteFile, "transaction", burning)
        yield


@dataclass
class Known:
    """What the model knows of a set."""

    committed: dict[int, int] = field(default_factory=dict)  # number → seed
    maybe: dict[int, int] = field(default_factory=dict)  # …, of a commit that crashed
    pinned: set[int] = field(default_factory=set)
    heads: set[int] = field(default_factory=set)  # one of these, if it is not 0
    going: bool = False  # a deletion crashed
    highest: int = 0
    epochs: dict[str, int] = field(default_factory=dict)  # by job; the last one is the writer's
    writer: str = ""  # nobody's: whoever comes first with an epoch that may be the last
    last: str = ""  # whose epoch is the last, and who must be let go on
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
        known.writer, known.last, known.epochs[job] = job, job, grant.epoch
        known.open.clear()

    @rule(name=st.sampled_from(SETS), job=st.sampled_from(JOBS), crash=crashes)
    def open(self, name, job, crash):
        known = self.known[name]
        seed = self.seed = self.seed + 1

        async def work():
            return await self.world.versions.open(
                self.writer(name, job), 1, TENSORS, {"a": bytes([seed % 256])}, {"seed": str(seed)}
            )

        if known.writer not in {job, ""}:
            self.refused(known, job, work)
            return
        try:
            opened = self.call(crash, work)
        except errors.TesseraError as error:
            if known.writer or error.reason not in {"FENCED", "SET_NOT_FOUND"}:
                raise
            assert job != known.last or not known.committed, "the writer goes on"
            return
        known.open.pop(job, None)
        if not opened and not known.writer:
            known.last = ""  # It may have become the writer.
        if opened:
            number = opened[0]
            known.writer = job
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
            known.heads = {number}
        else:
            known.maybe[number] = seed
            known.heads.add(number)

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

    @rule(name=st.sampled_from(SETS), which=st.integers(0, 30), crash=crashes)
    def roll_back(self, name, which, crash):
        known = self.known[name]
        if not known.committed:
            return
        number = sorted(known.committed)[which % len(known.committed)]

        def work():
            return self.world.versions.roll_back(name, number, "me")

        try:
            move = self.call(crash, work)
        except errors.NotFoundError as error:
            assert error.reason == "VERSION_DROPPED"  # noqa: PT017
            return
        if move:
            assert move.version == number
            known.heads = {number}
        else:
            known.heads.add(number)

    @rule(name=st.sampled_from(SETS), crash=crashes)
    def delete(self, name, crash):
        known = self.known[name]

        def work():
            return self.world.versions.delete(name, force=True)

        try:
            known.going = self.call(crash, work) is None
        except errors.NotFoundError:
            return
        if not known.going:
            self.gone(known)

    def gone(self, known):
        """A set was deleted, and the shards have heard of it."""
        self.world.run(self.world.versions.sweeper.tidy())
        known.going, known.writer = False, ""
        for what in (known.committed, known.maybe, known.pinned, known.heads, known.open):
            what.clear()

    @rule(crash=crashes)
    def tidy(self, crash):
        self.call(crash, self.world.versions.sweeper.tidy)

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
            known.last, known.writer = known.writer or known.last, ""
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
            store = self.world.versions.store
            try:
                ask = self.world.versions.ask
                versions = self.world.run(ask(store.reader.versions, name, 0, 100))
                head, _ = self.world.run(ask(store.heads.head, name))
            except errors.NotFoundError:
                versions, head = [], None
                if known.going:
                    self.gone(known)
                    continue
            known.going = False
            numbers = {version.number for version in versions}
            # A commit that crashed has happened, or has not, and is what it was from now on.
            for number, seed in known.maybe.items():
                if number in numbers:
                    known.committed[number] = seed
            known.maybe.clear()
            newest = sorted(known.committed)[-KEEP:]
            assert numbers <= known.committed.keys()
            assert numbers >= {*newest, *known.pinned}
            if known.committed:
                assert head.number in known.heads & numbers
                known.heads = {head.number}
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
    settings = settings(max_examples=1500, stateful_step_count=50, deadline=None)
