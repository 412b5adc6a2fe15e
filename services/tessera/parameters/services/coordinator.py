"""CoordinatorService: protobuf on one side, `Versions` on the other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import coordinator_pb2_grpc as pb_grpc
from tessera.api.parameters.v1 import manifest_pb2
from tessera.dtypes import element_size
from tessera.parameters.lease import lease_seconds
from tessera.parameters.operations import Operations
from tessera.parameters.push_grant import GRANT_SECONDS, GrantSigner, PushGrant
from tessera.parameters.versions import Versions
from tessera.parameters.writer import Writer
from tessera.rpc import pages
from tessera.rpc.principal import PLATFORM, current_principal
from tessera.weights import manifest_parts, messages
from tessera.weights.manifest import TensorSpec
from tessera.weights.tensor_list import group_sizes

NAME = pb.DESCRIPTOR.services_by_name["CoordinatorService"].full_name

_SETS = pages.PageTokens(of="sets", position=r"[-a-z0-9]{1,63}/[-a-z0-9]{1,63}")
_VERSIONS = pages.PageTokens(of="versions", position=r"[0-9]{1,18}")
MAX_PIN_SECONDS = 3600.0
_MOST_BYTES = 1 << 60
"""Of a version: sums of these still are numbers that a message can hold."""
_GROUP = re.compile(r"[a-z0-9][-_a-z0-9]*")


class CoordinatorControl(pb_grpc.CoordinatorServiceServicer):
    """Serves the sets and versions.

    Args:
        versions: that it serves.
        signer: of what may be pushed.
    """

    def __init__(self, versions: Versions, signer: GrantSigner) -> None:
        self._versions = versions
        self._signer = signer
        self._store = versions.store
        self._seals: Operations[tuple[int, int]] = Operations()

    async def close(self) -> None:
        """End what goes on between calls."""
        await self._seals.close()

    async def AcquireWriter(
        self, request: pb.AcquireWriterRequest, context: Any
    ) -> pb.AcquireWriterResponse:
        """Make the caller the one writer of a set."""
        del context
        grant = await self._versions.acquire(
            request.set,
            request.job,
            request.attempt,
            request.keep,
            current_principal().subject,
        )
        resume = messages.version_to_pb(grant.resume) if grant.resume else None
        return pb.AcquireWriterResponse(epoch=grant.epoch, resume=resume)

    async def OpenVersion(
        self, request: pb.OpenVersionRequest, context: Any
    ) -> pb.OpenVersionResponse:
        """Begin a version."""
        del context
        tensors = _tensors(request.tensors)
        number, shards = await self._versions.open(
            _writer(request),
            request.step,
            tensors,
            messages.assets_from_pb(request.assets),
            dict(request.labels),
        )
        grant = PushGrant(
            store=self._versions.shards.store,
            set=request.set,
            version=number,
            epoch=request.epoch,
        )
        seconds = max(GRANT_SECONDS, lease_seconds(sum(group_sizes(tensors).values())))
        return pb.OpenVersionResponse(
            version=number,
            shards=messages.shards_to_pb(shards),
            grant=self._signer.sign(grant, seconds=seconds),
            # Shards come with the same version of the platform.
            tables=True,
            views=True,
        )

    async def SealVersion(
        self, request: pb.SealVersionRequest, context: Any
    ) -> pb.SealVersionResponse:
        """Make a version durable and check that it is whole."""
        del context
        writer = _writer(request)
        digest = request.digest if request.HasField("digest") else None
        polled = await self._seals.poll(
            (writer, request.version),
            partial(self._versions.seal, writer, request.version, digest),
        )
        if polled.result is None:
            await self._versions.ask(self._store.leases.renew, writer, request.version)
            return pb.SealVersionResponse(pending=True, written=polled.done)
        slices, size = polled.result
        return pb.SealVersionResponse(slices=slices, size=size, written=size)

    async def CommitVersion(
        self, request: pb.CommitVersionRequest, context: Any
    ) -> pb.CommitVersionResponse:
        """Publish a version."""
        del context
        version = await self._versions.commit(_writer(request), request.version)
        return pb.CommitVersionResponse(version=messages.version_to_pb(version))

    async def AbortVersion(
        self, request: pb.AbortVersionRequest, context: Any
    ) -> pb.AbortVersionResponse:
        """Give a version up."""
        del context
        await self._versions.abort(_writer(request), request.version)
        return pb.AbortVersionResponse()

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: Any
    ) -> AsyncIterator[pb.GetManifestResponse]:
        """Describe a version for reading."""
        del context
        groups = list(request.groups)
        version, content = await self._versions.ask(
            self._store.reader.content, request.set, request.version, groups, request.min_version
        )
        addresses = await self._versions.shards.addresses(wait=False)
        shards = messages.shards_to_pb(addresses)
        holders = await self._versions.holders((request.set, version.number))
        parts = manifest_parts.cut(
            messages.version_to_pb(version),
            content,
            groups or version.groups,
            holders,
            tables=request.tables,
            views=request.views,
        )
        # On a thread: a large one takes seconds.
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield pb.GetManifestResponse(manifest=part, shards=shards)
            shards = []

    async def ListSets(self, request: pb.ListSetsRequest, context: Any) -> pb.ListSetsResponse:
        """List sets by name."""
        del context
        caller = current_principal()
        size = pages.size_of(request.page_size)
        tenant = "" if caller.role in PLATFORM else caller.tenant
        # One more than asked for tells whether there is another page.
        found = await self._versions.ask(
            self._store.reader.sets, tenant, _SETS.decode(request.page_token), size + 1
        )
        page = found[:size]
        return pb.ListSetsResponse(
            sets=[messages.set_to_pb(entry) for entry in page],
            next_page_token=_SETS.encode(page[-1].name if len(found) > size else ""),
        )

    async def ListVersions(
        self, request: pb.ListVersionsRequest, context: Any
    ) -> pb.ListVersionsResponse:
        """List committed versions, newest first."""
        del context
        size = pages.size_of(request.page_size)
        before = int(_VERSIONS.decode(request.page_token) or 0)
        found = await self._versions.ask(self._store.reader.versions, request.set, before, size + 1)
        page = found[:size]
        return pb.ListVersionsResponse(
            versions=[messages.version_to_pb(version) for version in page],
            next_page_token=_VERSIONS.encode(str(page[-1].number) if len(found) > size else ""),
        )

    async def WatchSet(
        self, request: pb.WatchSetRequest, context: Any
    ) -> AsyncIterator[pb.WatchSetResponse]:
        """Stream the head of a set."""
        del context
        async for head, move in self._versions.watch(request.set):
            yield pb.WatchSetResponse(head=messages.version_to_pb(head), sequence=move)

    async def PinVersion(
        self, request: pb.PinVersionRequest, context: Any
    ) -> pb.PinVersionResponse:
        """Keep a version for a while."""
        del context
        seconds = request.ttl.ToNanoseconds() / 1e9
        if not 0 < seconds <= MAX_PIN_SECONDS:
            text = f"must be positive and at most {MAX_PIN_SECONDS:.0f} s; renew pins instead"
            raise errors.InvalidArgumentError(
                f"ttl: {text}", reason="INVALID_FIELD", violations=[errors.Violation("ttl", text)]
            )
        await self._versions.ask(
            self._store.retention.pin, request.set, request.version, _owner(request.owner), seconds
        )
        return pb.PinVersionResponse()

    async def ReleasePin(
        self, request: pb.ReleasePinRequest, context: Any
    ) -> pb.ReleasePinResponse:
        """Give a pin back."""
        del context
        await self._versions.ask(
            self._store.retention.release, request.set, request.version, _owner(request.owner)
        )
        return pb.ReleasePinResponse()

    async def RollbackSet(
        self, request: pb.RollbackSetRequest, context: Any
    ) -> pb.RollbackSetResponse:
        """Make a version the head again."""
        del context
        mover = current_principal().subject
        move = await self._versions.roll_back(request.set, request.version, mover)
        return pb.RollbackSetResponse(move=messages.head_move_to_pb(move))

    async def ListHeadMoves(
        self, request: pb.ListHeadMovesRequest, context: Any
    ) -> pb.ListHeadMovesResponse:
        """Tell what the head was."""
        del context
        moves = await self._versions.ask(self._store.heads.moves, request.set)
        return pb.ListHeadMovesResponse(moves=[messages.head_move_to_pb(move) for move in moves])

    async def DeleteSet(self, request: pb.DeleteSetRequest, context: Any) -> pb.DeleteSetResponse:
        """Drop a set."""
        del context
        versions, size = await self._versions.delete(request.set, force=request.force)
        return pb.DeleteSetResponse(versions=versions, size=size)

    async def ListShards(
        self, request: pb.ListShardsRequest, context: Any
    ) -> pb.ListShardsResponse:
        """List the shards by name."""
        del request, context
        addresses = await self._versions.shards.addresses(wait=False)
        there = {shard.name: shard.data_address for shard in addresses}
        return pb.ListShardsResponse(
            shards=[
                pb.Shard(
                    name=member.name,
                    available=member.name in there,
                    draining=member.draining,
                    pieces=member.pieces,
                    needed_pieces=member.needed,
                    size=member.size,
                    data_address=there.get(member.name, ""),
                )
                for member in await self._versions.ask(self._store.members.list)
            ]
        )

    async def DrainShard(
        self, request: pb.DrainShardRequest, context: Any
    ) -> pb.DrainShardResponse:
        """Let a shard take nothing new."""
        del context
        await self._versions.drain(request.name, draining=not request.undo)
        return pb.DrainShardResponse()

    async def RemoveShard(
        self, request: pb.RemoveShardRequest, context: Any
    ) -> pb.RemoveShardResponse:
        """Forget a shard."""
        del context
        await self._versions.remove(request.name)
        return pb.RemoveShardResponse()

    async def VerifyVersion(
        self, request: pb.VerifyVersionRequest, context: Any
    ) -> AsyncIterator[pb.VerifyVersionResponse]:
        """Have a version read, and say what is damaged."""
        del context
        async for number, so_far in self._versions.verify(request.set, request.version):
            yield pb.VerifyVersionResponse(
                version=number,
                verified=so_far.done,
                size=so_far.size,
                damage=[
                    pb.ShardDamage(shard=shard, group=one.group, reason=one.reason, text=one.text)
                    for shard, damage in sorted(so_far.damage.items())
                    for one in damage
                ],
            )


class _Written(Protocol):
    """A message of a writer."""

    set: str
    epoch: int


def _writer(request: _Written) -> Writer:
    return Writer(set=request.set, epoch=request.epoch, holder=current_principal().subject)


def _owner(name: str) -> str:
    """Of a pin: a caller names its own alone."""
    return f"{current_principal().subject}/{name}"


def _tensors(found: Sequence[manifest_pb2.Tensor]) -> Sequence[TensorSpec]:
    """The tensors of a new version, checked."""
    tensors = messages.tensors_from_pb(found)
    violations = [] if _plain(tensors) else _mistakes(tensors)
    if not violations and sum(group_sizes(tensors).values()) > _MOST_BYTES:
        text = f"they take more than {_MOST_BYTES} bytes together"
        violations.append(errors.Violation("tensors", text))
    if not tensors:
        violations.append(errors.Violation("tensors", "a version needs at least one tensor"))
    if violations:
        first = violations[0]
        raise errors.InvalidArgumentError(
            f"{first.field}: {first.description}", reason="INVALID_TENSOR", violations=violations
        )
    return tensors


def _plain(tensors: Sequence[TensorSpec]) -> bool:
    """Whether nothing is wrong with any tensor: of thousands there are few kinds."""
    names = {(tensor.group, tensor.name) for tensor in tensors}
    kinds = {(tensor.group, tensor.dtype): tensor for tensor in tensors}
    shapes = {tensor.shape for tensor in tensors}
    return (
        len(names) == len(tensors)
        and all(min(shape, default=0) >= 0 for shape in shapes)
        and not any(list(_wrong("", tensor, twice=False)) for tensor in kinds.values())
    )


def _mistakes(tensors: Sequence[TensorSpec]) -> list[errors.Violation]:
    """What is wrong with which tensor."""
    violations: list[errors.Violation] = []
    seen: set[tuple[str, str]] = set()
    kinds: set[tuple[str, str]] = set()
    for index, tensor in enumerate(tensors):
        kind, name = (tensor.group, tensor.dtype), (tensor.group, tensor.name)
        # Of thousands of tensors there are few kinds.
        if kind not in kinds or name in seen or min(tensor.shape, default=0) < 0:
            wrong = list(_wrong(f"tensors[{index}]", tensor, twice=name in seen))
            violations += wrong
            if not wrong:
                kinds.add(kind)
        seen.add(name)
    return violations


def _wrong(field: str, tensor: TensorSpec, *, twice: bool) -> Iterator[errors.Violation]:
    """What is wrong with a tensor."""
    try:
        element_size(tensor.dtype)
    except errors.InvalidArgumentError as error:
        yield errors.Violation(f"{field}.dtype", error.message)
    if any(extent < 0 for extent in tensor.shape):
        yield errors.Violation(f"{field}.shape", "extents must not be negative")
    if not _GROUP.fullmatch(tensor.group):
        text = "lower-case letters, digits, dashes and underscores only"
        yield errors.Violation(f"{field}.group", text)
    if twice:
        text = f"{tensor.group} tensor {tensor.name!r} is there twice"
        yield errors.Violation(f"{field}.name", text)
