"""Synchronous client of the parameter coordinator."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from tessera import errors, validation
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import coordinator_pb2_grpc as pb_grpc
from tessera.rpc.channel import DEFAULT_SECONDS, bearer, channel, mapped_errors
from tessera.rpc.pages import every_page
from tessera.rpc.tls.names import coordinator_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import manifest_parts, messages
from tessera.weights.directory import PATIENCE_SECONDS, find, with_patience
from tessera.weights.manifest import (
    Grant,
    HeadMove,
    Manifest,
    OpenedVersion,
    ParameterSet,
    ShardStatus,
    TensorSpec,
    Verification,
    Version,
)
from tessera.weights.watch import Watch

NAME = "coordinator"
SEAL_SECONDS = 60.0
"""For a call that says how far the sealing is, at the latest after ten seconds."""
MANIFEST_SECONDS = 300.0
"""For all parts of a manifest, of which there may be hundreds."""

READ_SECONDS = 600.0
_PIN_TRIES = 5


class Coordinator:
    """The sets and versions of a parameter service.

    Thread-safe. The coordinator is found through the controller, and found again when it does not
    answer; calls are repeated until `patience` seconds are over.

    Args:
        controller: host:port of the controller.
        token: of the caller.
        patience: seconds to wait for a coordinator that restarts.
    """

    def __init__(
        self, controller: str, token: Token, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._controller = controller
        self.patience = patience
        self._token = token
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of a call that is made now."""
        return bearer(self._token)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def acquire_writer(self, set: str, job: str, attempt: int, keep: int = 0) -> Grant:  # noqa: A002 - what it is called
        """Become the one writer of a set, which is made if need be; earlier writers are fenced.

        Args:
            set: `{tenant}/{name}`.
            job: that writes.
            attempt: of the job, from 1.
            keep: whole versions to keep; 0 leaves the set's setting.

        Raises:
            FailedPreconditionError: a later attempt of the job has written (reason FENCED).
        """
        request = pb.AcquireWriterRequest(set=set, job=job, attempt=attempt, keep=keep)
        reply = self._call("AcquireWriter", request)
        resume = messages.version_from_pb(reply.resume) if reply.HasField("resume") else None
        return Grant(set=set, epoch=reply.epoch, resume=resume)

    def open_version(  # noqa: PLR0917 - a contract with callers
        self,
        set: str,  # noqa: A002 - what it is called
        epoch: int,
        step: int,
        tensors: Sequence[TensorSpec],
        assets: Mapping[str, bytes] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> OpenedVersion:
        """Begin a version; one that the writer had open is given up.

        Raises:
            FailedPreconditionError: another writer has the set (reason FENCED).
            InvalidArgumentError: a tensor is malformed or named twice.
            ResourceExhaustedError: it does not fit under the disk cap (reason DISK_CAP).
        """
        request = pb.OpenVersionRequest(
            set=set,
            epoch=epoch,
            step=step,
            assets=messages.assets_to_pb(assets or {}),
            labels=dict(labels or {}),
        )
        messages.add_tensors(request.tensors, tensors)
        # Its labels are what a run measured, under names of the user's.
        reply = self._call("OpenVersion", validation.fit(request))
        return OpenedVersion(
            set=set,
            number=reply.version,
            epoch=epoch,
            tensors=tuple(tensors),
            shards=messages.shards_from_pb(reply.shards),
            controller=self._controller,
            grant=reply.grant,
            tables=reply.tables,
            views=reply.views,
        )

    def seal_version(self, opened: OpenedVersion, digest: int | None = None) -> int:
        """Make what was pushed durable and check that it is whole; returns its bytes.

        It takes as long as the disks take: the coordinator is asked until it is done.

        Args:
            opened: what `open_version` returned.
            digest: of what all ranks pushed: `push_digest.sum_of` of their `PushReport.digest`;
                None: whatever is on the shards is taken.

        Raises:
            FailedPreconditionError: something is missing (reason INCOMPLETE, naming the tensor):
                push again, the same slices, and seal again. Or something is not what was pushed
                (DIGEST_MISMATCH): open another version. Or the writer is FENCED.
        """
        request = pb.SealVersionRequest(
            set=opened.set, version=opened.number, epoch=opened.epoch, digest=digest
        )
        while True:
            reply = self._call("SealVersion", request, SEAL_SECONDS)
            if not reply.pending:
                return int(reply.size)

    def commit_version(self, opened: OpenedVersion) -> Version:
        """Make a sealed version the head of its set. Doing it twice is harmless.

        Raises:
            FailedPreconditionError: it is not sealed (NOT_SEALED), or the writer is FENCED.
        """
        request = pb.CommitVersionRequest(set=opened.set, version=opened.number, epoch=opened.epoch)
        return messages.version_from_pb(self._call("CommitVersion", request).version)

    def abort_version(self, opened: OpenedVersion) -> None:
        """Give a version up; what was pushed is forgotten."""
        request = pb.AbortVersionRequest(set=opened.set, version=opened.number, epoch=opened.epoch)
        self._call("AbortVersion", request)

    def get_manifest(
        self,
        set: str,  # noqa: A002 - what it is called
        version: int = 0,
        groups: Sequence[str] = (),
        min_version: int = 0,
    ) -> Manifest:
        """A committed version, for reading; `version` 0 is the newest, no `groups` all it holds.

        Raises:
            NotFoundError: SET_NOT_FOUND, VERSION_NOT_FOUND, VERSION_DROPPED, GROUP_DROPPED or
                GROUP_NOT_FOUND.
            FailedPreconditionError: the newest is older than `min_version` (reason TOO_OLD).
        """
        request = pb.GetManifestRequest(
            set=set,
            version=version,
            groups=groups,
            min_version=min_version,
            tables=True,
            views=True,
        )

        def attempt(again: bool) -> list[pb.GetManifestResponse]:
            stub = self.stub(again=again)
            with mapped_errors():
                replies = stub.GetManifest(
                    request, metadata=self.metadata, timeout=MANIFEST_SECONDS
                )
                return list(replies)

        replies = with_patience(attempt, self.patience)
        shards = messages.shards_from_pb(replies[0].shards)
        whole = manifest_parts.join(reply.manifest for reply in replies)
        found = messages.manifest_from_pb(whole, shards, self._controller)
        # Whoever reads looks at each of them, again and again.
        return replace(found, tensors=tuple(found.tensors))

    def get_pinned(
        self,
        set: str,  # noqa: A002 - what it is called
        version: int,
        groups: Sequence[str],
        owner: str,
        ttl: float,
    ) -> Manifest:
        """A committed version, pinned for `ttl` seconds before anything of it is read.

        Where `version` is 0, it is whatever is the head when it is pinned.

        Raises:
            NotFoundError: as `get_manifest` does.
        """
        for tries in range(_PIN_TRIES, -1, -1):
            number = version or self.get_manifest(set, 0, groups).version.number
            try:
                self.pin_version(set, number, owner, ttl)
                return self.get_manifest(set, number, groups)
            except errors.NotFoundError as error:
                # Dropped between two calls, for there is a newer one.
                if version or not tries or error.reason != "VERSION_DROPPED":
                    raise
        raise AssertionError

    @contextmanager
    def reading(
        self,
        set: str,  # noqa: A002 - what it is called
        version: int,
        groups: Sequence[str],
        purpose: str,
    ) -> Iterator[Manifest]:
        """A committed version that stays as long as it is read, at most ten minutes.

        Raises:
            NotFoundError: as `get_manifest` does.
        """
        owner = f"{purpose}-{uuid.uuid4().hex}"
        manifest = self.get_pinned(set, version, groups, owner, READ_SECONDS)
        try:
            yield manifest
        finally:
            self.release_pin(set, manifest.version.number, owner)

    def verify_version(
        self,
        set: str,  # noqa: A002 - what it is called
        version: int = 0,
    ) -> Iterator[Verification]:
        """Have the shards read all of a version; the last item says what is damaged.

        Raises:
            NotFoundError: there is no such version.
            UnavailableError: a shard is away (SHARD_UNAVAILABLE).
        """
        request = pb.VerifyVersionRequest(set=set, version=version)
        stub = self.stub(again=False)
        with mapped_errors():
            for reply in stub.VerifyVersion(request, metadata=self.metadata):
                yield messages.verification_from_pb(reply)

    def watch_set(self, set: str) -> Watch:  # noqa: A002 - what it is called
        """The head now and at every commit and rollback, for ever; `close` ends it."""
        return Watch(self, set)

    def list_sets(self) -> list[ParameterSet]:
        """Every set of the caller's tenant, by name."""
        pages = every_page(partial(self._call, "ListSets"), pb.ListSetsRequest(page_size=500))
        return [messages.set_from_pb(message) for page in pages for message in page.sets]

    def list_versions(self, set: str) -> list[Version]:  # noqa: A002 - what it is called
        """The committed versions of a set that are still held, newest first."""
        request = pb.ListVersionsRequest(set=set, page_size=500)
        pages = every_page(partial(self._call, "ListVersions"), request)
        return [messages.version_from_pb(message) for page in pages for message in page.versions]

    def rollback_set(self, set: str, version: int) -> HeadMove:  # noqa: A002
        """Make a committed version the head of its set again; nothing is dropped.

        Raises:
            NotFoundError: there is no such version any more.
            FailedPreconditionError: something of it is damaged (VERSION_DAMAGED).
        """
        request = pb.RollbackSetRequest(set=set, version=version)
        return messages.head_move_from_pb(self._call("RollbackSet", request).move)

    def list_head_moves(self, set: str) -> list[HeadMove]:  # noqa: A002 - what it is called
        """What the head of a set was, newest first; the last 200 moves."""
        reply = self._call("ListHeadMoves", pb.ListHeadMovesRequest(set=set))
        return [messages.head_move_from_pb(message) for message in reply.moves]

    def delete_set(self, set: str, *, force: bool = False) -> tuple[int, int]:  # noqa: A002
        """Drop all versions of a set, and the set; returns how many, and their bytes.

        Raises:
            NotFoundError: there is no such set.
            FailedPreconditionError: versions are pinned or being written (SET_IN_USE), without
                `force`.
        """
        reply = self._call("DeleteSet", pb.DeleteSetRequest(set=set, force=force))
        return reply.versions, reply.size

    def list_shards(self) -> list[ShardStatus]:
        """The shards and what they hold, by name."""
        reply = self._call("ListShards", pb.ListShardsRequest())
        return [messages.shard_status_from_pb(message) for message in reply.shards]

    def drain_shard(self, name: str, *, undo: bool = False) -> None:
        """Let a shard take nothing new, and have what it holds copied to others.

        Raises:
            NotFoundError: there is no such shard.
            FailedPreconditionError: it is the last one that is not drained (LAST_SHARD).
        """
        self._call("DrainShard", pb.DrainShardRequest(name=name, undo=undo))

    def remove_shard(self, name: str) -> None:
        """Forget a shard that is drained.

        Raises:
            NotFoundError: there is no such shard.
            FailedPreconditionError: it is not draining (NOT_DRAINING), or something lies nowhere
                else (SHARD_NEEDED).
        """
        self._call("RemoveShard", pb.RemoveShardRequest(name=name))

    def pin_version(self, set: str, version: int, owner: str, ttl: float) -> None:  # noqa: A002
        """Keep a version whole for `ttl` seconds, at most an hour; pinning again renews."""
        duration = Duration()
        duration.FromNanoseconds(int(ttl * 1e9))
        request = pb.PinVersionRequest(set=set, version=version, owner=owner, ttl=duration)
        self._call("PinVersion", request)

    def release_pin(self, set: str, version: int, owner: str) -> None:  # noqa: A002
        """Give a pin back."""
        self._call("ReleasePin", pb.ReleasePinRequest(set=set, version=version, owner=owner))

    def _call(self, method: str, request: Any, seconds: float = DEFAULT_SECONDS) -> Any:
        def attempt(again: bool) -> Any:
            stub = self.stub(again=again)
            with mapped_errors():
                return getattr(stub, method)(request, metadata=self.metadata, timeout=seconds)

        return with_patience(attempt, self.patience)

    def stub(self, *, again: bool) -> pb_grpc.CoordinatorServiceStub:
        """A stub of the coordinator; with `again`, of wherever it listens now."""
        with self._lock:
            if again and self._channel is not None:
                # Not closed: other threads may still have calls on it.
                self._channel = None
            if self._channel is None:
                role = registry_pb2.ROLE_COORDINATOR
                address = find(self._controller, self._token, role, NAME).control_address
                self._channel = channel(address, tls_of(self._token), coordinator_name())
            return pb_grpc.CoordinatorServiceStub(self._channel)
