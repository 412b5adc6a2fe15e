"""Commits what the ranks hold as a version, each rank pushing its own slices.

What they hold is copied first; then it is pushed, sealed and committed, on whatever thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from tessera import errors
from tessera.device import Device
from tessera.models.config import ModelConfig
from tessera.rpc.token import Token
from tessera.trainer.failure import CollateralError, FencedError
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.step import learning
from tessera.trainer.versions import layout, randomness
from tessera.trainer.versions.snapshot import SnapshotBuffers
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import OpenedVersion, TensorSpec, Version
from tessera.weights.push import PushReport, push
from tessera.weights.push_digest import sum_of

TRIES = 4
"""How often a commit is begun before the attempt gives up."""

# But for a grant of a coordinator that has lost its folder since: the next version has another.
_FATAL = (
    errors.InvalidArgumentError,
    errors.PermissionDeniedError,
    errors.UnauthenticatedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A committed version: number, step, seconds from its beginning to its end, bytes pushed."""

    number: int
    step: int
    seconds: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSnapshot:
    """What is to be committed: tensors as they were at a step, and what goes with them."""

    placed: Sequence[layout.LocalTensor]
    step: int
    labels: Mapping[str, str]
    config: ModelConfig


@dataclass(slots=True, kw_only=True)
class Publisher:
    """Writes the versions of one run.

    Args:
        coordinator: only rank 0 talks to it.
        token: for the pushes.
        set: `{tenant}/{name}`.
        epoch: of the writer.
        config: of the model.
        assets: other files that every version carries.

    Attributes:
        sent: bytes of the last version that this rank has sent; what it shares with the one before
            the shards had.
    """

    ranks: Ranks
    device: Device
    module: nn.Module
    optimizer: torch.optim.Optimizer
    coordinator: Coordinator
    token: Token
    set: str
    epoch: int
    config: ModelConfig
    assets: Mapping[str, bytes]
    pause: float = field(default=2.0)
    merged: bool = field(default=False, init=False)
    _apart: Ranks = field(init=False)
    _before: PushReport | None = field(default=None, init=False)
    sent: int = field(default=0, init=False)
    _buffers: SnapshotBuffers = field(init=False)

    def __post_init__(self) -> None:
        self._apart = self.ranks.apart()
        self._buffers = SnapshotBuffers(self.device)

    def snapshot(self, position: Position, labels: Mapping[str, str]) -> VersionSnapshot:
        """Copy what is to be committed; training may go on, and the next one waits for this one."""
        placed = self._buffers.take(self._placed(position), self.ranks.rank, self.ranks.world_size)
        return VersionSnapshot(placed=placed, step=position.step, labels=labels, config=self.config)

    def commit(self, snapshot: VersionSnapshot) -> Published:
        """Open, push, seal, commit; every rank calls it, on whatever thread.

        Raises:
            FencedError: a newer attempt writes this set.
            TesseraError: it did not succeed in several tries.
        """
        begin = time.monotonic()
        for attempt in range(1, TRIES + 1):
            done = self._once(snapshot, last=attempt == TRIES)
            if done is not None:
                version, size = done
                return Published(
                    number=version.number,
                    step=snapshot.step,
                    seconds=time.monotonic() - begin,
                    size=size,
                )
            time.sleep(self.pause * attempt)
        raise errors.UnavailableError("the version could not be committed", reason="COMMIT_FAILED")

    def forget(self) -> None:
        """Send all of the next version, whatever it shares with the last one."""
        self._before = None

    def merge(self) -> None:
        """From now on commit a model without adapters: they are in the weights.

        Training cannot go on from there, so that the optimizer's states are left out too.
        """
        learning.merge(self.module)
        self.merged = True
        self.config = replace(self.config, lora=None)

    def model(self) -> list[layout.LocalTensor]:
        """The tensors of the model as they are in memory now."""
        return layout.layout(self.module, adapters=not self.merged)

    def _once(self, snapshot: VersionSnapshot, *, last: bool) -> tuple[Version, int] | None:
        ranks = self._apart
        opened = ranks.on_main(lambda: self._open(snapshot))
        report, error, failed = ranks.on_all(lambda: self._push(opened, snapshot.placed))
        if self._settle(error, failed, last=last) and report is not None:
            digest = sum_of(ranks.gather(report.digest))
            version, error, failed = ranks.on_all(lambda: self._finish(opened, digest))
            if self._settle(error, failed, last=last):
                self._before, self.sent = report, report.sent
                found = ranks.broadcast(version)
                return found, int(ranks.sum(report.size)[0])
        return None

    def _settle(self, error: Exception | None, failed: Sequence[str], *, last: bool) -> bool:
        """Whether all went well; False: all ranks try again together. Raises where that is vain."""
        hopeless = (
            (isinstance(error, _FATAL) and error.reason != "GRANT_INVALID")
            or getattr(error, "reason", "") == "FENCED"
            or (error is not None and not isinstance(error, errors.TesseraError))
        )
        if any(self._apart.gather(hopeless)) or (last and any(failed)):
            if error is not None and getattr(error, "reason", "") == "FENCED":
                raise FencedError(f"a newer attempt writes {self.set}") from error
            if error is not None:
                raise error
            raise CollateralError(f"another rank could not commit: {next(filter(None, failed))}")
        return not any(failed)

    def _open(self, snapshot: VersionSnapshot) -> OpenedVersion:
        specs = [item.spec for item in snapshot.placed]
        assets = {"config.json": snapshot.config.to_json().encode(), **self.assets}
        return self.coordinator.open_version(
            self.set, self.epoch, snapshot.step, specs, assets, snapshot.labels
        )

    def _push(self, opened: OpenedVersion, placed: Sequence[layout.LocalTensor]) -> PushReport:
        slices = [
            LocalSlice(
                tensor=index, group=item.spec.group, box=item.box, data=layout.to_bytes(item.part)
            )
            for index, item in layout.owned(placed, self.ranks.rank, self.ranks.world_size)
            if item.part is not None
        ]
        return push(opened, self.ranks.rank, slices, self.token, before=self._before)

    def _finish(self, opened: OpenedVersion, digest: int) -> Version | None:
        if not self.ranks.is_main:
            return None
        self.coordinator.seal_version(opened, digest)
        return self.coordinator.commit_version(opened)

    def _placed(self, position: Position) -> list[layout.LocalTensor]:
        placed = self.model() if self.merged else layout.layout(self.module, self.optimizer)
        states = randomness.capture(self.device)
        for rank in range(self.ranks.world_size):
            mine = rank == self.ranks.rank
            for name, content in states.items():
                placed.append(_state(f"rank-{rank}/{name}", content, mine=mine))
        facts = np.frombuffer(position.to_json(), dtype=np.uint8)
        placed.append(_state("trainer", facts, mine=self.ranks.is_main))
        return placed


def _state(name: str, content: randomness.Bytes, *, mine: bool) -> layout.LocalTensor:
    spec = TensorSpec(group=layout.STATE, name=name, shape=content.shape, dtype="U8")
    part = torch.from_numpy(content.copy()) if mine else None
    return layout.LocalTensor(spec=spec, box=Box.whole(content.shape), part=part, replicated=False)
