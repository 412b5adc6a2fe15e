"""The coordinator's view of its shards: found by name, found again when they do not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.parameters.config import LOST_SECONDS
from tessera.parameters.damage import Damage
from tessera.parameters.holding import HeldRecord, HeldSet, HeldVersion, Holding, Verified
from tessera.parameters.spread import Copy, Fleet
from tessera.parameters.version_record import VersionRecord, record_of
from tessera.rpc.channel import aio_channel, bearer, peer_errors
from tessera.rpc.deadline import remaining
from tessera.rpc.registration import resolve
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights.manifest import HeadMove, ShardAddress
from tessera.weights.messages import (
    head_move_from_pb,
    head_move_to_pb,
    manifest_to_pb,
    shards_to_pb,
    slice_from_pb,
    slices_from_pb,
)
from tessera.weights.slice_table import SliceTable

PERSIST_SECONDS = 60.0
"""For a call that a shard answers within `operations.POLL_SECONDS`, if it lives."""
WAIT_SECONDS = 20.0
CHECK_SECONDS = 300.0
"""For a shard that looks whether all of its files are there, of which there may be a million."""
_PAUSE = 0.2
_MARGIN = 2.0
"""What is left of a call's time when enough was waited for a shard."""


class Shards:
    """Clients of the shards with these names.

    Args:
        controller: host:port of the controller.
        token: of the coordinator.
        names: that are expected at first.
        lost: seconds after which one that is away counts as gone.

    Attributes:
        names: of all that belong to the store.
        draining: of those that take nothing new.
        store: id of the coordinator's store, as soon as it is known.
    """

    def __init__(
        self, controller: str, token: Token, names: Sequence[str], lost: float = LOST_SECONDS
    ) -> None:
        self.names = tuple(names)
        self.draining: frozenset[str] = frozenset()
        self.store = ""
        self._controller = controller
        self._token = token
        self._lost = lost
        self._begun = time.monotonic()
        self._seen: dict[str, float] = {}
        self._known: dict[str, registry_pb2.Endpoint] = {}
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}

    async def addresses(self, *, wait: bool) -> list[ShardAddress]:
        """Where the shards listen now, also those that are drained.

        Args:
            wait: for such as are away for a moment, as long as there is time; then without them.

        Raises:
            UnavailableError: there is none at all (reason SHARD_UNAVAILABLE).
        """
        end = time.monotonic() + min(WAIT_SECONDS, remaining(WAIT_SECONDS) - _MARGIN)
        while True:
            await self.refresh()
            counted = self.fleet().counted if wait else frozenset()
            missing = sorted(counted.difference(self._known))
            found = [self._address(name) for name in self.names if name in self._known]
            if not missing or (found and time.monotonic() + _PAUSE > end):
                return found
            if time.monotonic() + _PAUSE > end:
                raise errors.UnavailableError(
                    f"shards {', '.join(missing)} are not there; they may be restarting",
                    reason="SHARD_UNAVAILABLE",
                    retry_after=1.0,
                )
            await asyncio.sleep(_PAUSE)

    async def targets(self) -> list[ShardAddress]:
        """Where slices of a new version go; raises as `addresses` does."""
        found = await self.addresses(wait=True)
        return [shard for shard in found if shard.name not in self.draining]

    def fleet(self) -> Fleet:
        """The shards as they were when last asked for."""
        now = time.monotonic()
        known = [name for name in self.names if name in self._known]
        away = {name for name in self.names if now - self._seen.get(name, self._begun) < self._lost}
        return Fleet(
            nodes={
                name: self._known[name].data_address.rpartition(":")[0]
                for name in known
                if name not in self.draining
            },
            answering=frozenset(known),
            counted=frozenset({*known, *away} - self.draining),
        )

    async def refresh(self) -> dict[str, str]:
        """Ask which shards there are; returns those by name, and where they are controlled."""
        found = await resolve(self._controller, self._token, registry_pb2.ROLE_SHARD)
        # Without bulk data it is no shard, whatever it says.
        self._known = {one.name: one for one in found if one.data_address}
        self._seen |= dict.fromkeys(self._known, time.monotonic())
        there = {(endpoint.name, endpoint.control_address) for endpoint in found}
        for gone in [key for key in self._channels if key not in there]:
            await self._channels.pop(gone).close()
        return {name: endpoint.control_address for name, endpoint in self._known.items()}

    async def persist(
        self, shard: str, name: str, version: int, tell: Callable[[int], None]
    ) -> SliceTable:
        """Make a version durable on a shard, however long that takes; lists what it holds of it.

        Args:
            shard: which.
            name: of the set.
            version: its number.
            tell: hears how many bytes are durable so far.
        """
        request = pb.PersistVersionRequest(store=self.store, set=name, version=version, tables=True)
        while True:
            reply = await self._call(shard, "PersistVersion", request, PERSIST_SECONDS)
            tell(reply.written)
            if not reply.pending:
                return slices_from_pb(reply)

    async def copy(
        self, shard: str, name: str, version: int, copies: Sequence[Copy]
    ) -> list[Damage]:
        """Have a shard copy pieces from others, however long that takes.

        Returns:
            Pieces that none of them gave.
        """
        request = pb.CopyPiecesRequest(
            store=self.store,
            set=name,
            version=version,
            pieces=[
                pb.PieceSource(
                    piece=copy.piece.piece.name,
                    checksum=int(copy.piece.piece.digest, 16),
                    shards=shards_to_pb(self._address(source) for source in copy.sources),
                )
                for copy in copies
            ],
        )
        while True:
            reply = await self._call(shard, "CopyPieces", request, PERSIST_SECONDS)
            if not reply.pending:
                return list(map(_damage, reply.failed))

    async def record(self, shard: str, record: VersionRecord) -> None:
        """Have a shard keep what makes a version a committed one."""
        request = pb.RecordVersionRequest(
            store=self.store,
            set=record.manifest.version.set,
            manifest=manifest_to_pb(record.manifest),
            keep=record.keep,
            sequence=record.sequence,
        )
        await self._call(shard, "RecordVersion", request, WAIT_SECONDS)

    async def record_head(self, shard: str, name: str, move: HeadMove) -> None:
        """Have a shard keep a rollback."""
        request = pb.RecordHeadRequest(store=self.store, set=name, move=head_move_to_pb(move))
        await self._call(shard, "RecordHead", request, WAIT_SECONDS)

    async def drop(self, shard: str, name: str, version: int, groups: Sequence[str]) -> int:
        """Make a shard forget a version or groups of it; returns the bytes freed."""
        request = pb.DropVersionRequest(store=self.store, set=name, version=version, groups=groups)
        reply = await self._call(shard, "DropVersion", request, WAIT_SECONDS)
        return int(reply.size)

    async def free_bytes(self, shard: str) -> int:
        """Bytes that a shard's disk has free."""
        reply = await self._call(shard, "GetShardStatus", pb.GetShardStatusRequest(), WAIT_SECONDS)
        return int(reply.free_bytes)

    async def held(
        self,
        shard: str,
        name: str = "",
        *,
        damaged_only: bool = False,
        check: bool = False,
        patience: float = WAIT_SECONDS,
    ) -> Holding:
        """What a shard holds of a set, or of all.

        Args:
            shard: which.
            name: of the set; empty: all.
            damaged_only: only versions that are known to be damaged.
            check: have it look first whether the files are there.
            patience: seconds to wait for it.
        """
        request = pb.ListHeldRequest(
            set=name, damaged_only=damaged_only, check=check, store=self.store
        )
        reply = await self._call(shard, "ListHeld", request, patience)
        return Holding(store=reply.store, sets={one.name: _held_set(one) for one in reply.sets})

    async def read(self, shard: str, name: str, version: int) -> HeldRecord:
        """What a shard knows of a version."""
        request = pb.ReadHeldRequest(set=name, version=version)
        reply = await self._call(shard, "ReadHeld", request, WAIT_SECONDS)
        return HeldRecord(
            shard=shard,
            record=record_of(reply) if reply.HasField("manifest") else None,
            slices=tuple(slice_from_pb(message) for message in reply.slices),
            dropped=reply.dropped,
        )

    async def verify(self, shard: str, name: str, version: int) -> AsyncIterator[Verified]:
        """Have a shard read all of a version; yields how far it is."""
        request = pb.VerifyHeldRequest(set=name, version=version)
        stub = await self._stub(shard)
        with peer_errors(f"shard {shard}", "SHARD_UNAVAILABLE"):
            async for reply in stub.VerifyHeld(request, metadata=bearer(self._token)):
                yield Verified(
                    done=reply.verified,
                    size=reply.size,
                    damage={shard: tuple(map(_damage, reply.damage))},
                )

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            await channel.close()

    def _address(self, shard: str) -> ShardAddress:
        return ShardAddress(name=shard, data_address=self._known[shard].data_address)

    async def _call(self, shard: str, method: str, request: Any, seconds: float) -> Any:
        """Call a shard; while it is away, find it again and repeat.

        Raises:
            UnavailableError: it is away, or does not answer in time (reason SHARD_UNAVAILABLE).
        """
        end = time.monotonic() + remaining(seconds)
        while True:
            try:
                stub = await self._stub(shard)
                timeout = max(0.1, end - time.monotonic())
                with peer_errors(f"shard {shard}", "SHARD_UNAVAILABLE"):
                    return await getattr(stub, method)(
                        request, metadata=bearer(self._token), timeout=timeout
                    )
            except errors.DeadlineExceededError:
                raise errors.UnavailableError(
                    f"shard {shard} has not answered {method} in time",
                    reason="SHARD_UNAVAILABLE",
                    retry_after=2.0,
                ) from None
            except errors.UnavailableError:
                if time.monotonic() + _PAUSE > end:
                    raise
            await asyncio.sleep(_PAUSE)
            await self.refresh()

    async def _stub(self, shard: str) -> Any:
        if shard not in self._known:
            await self.refresh()
        if shard not in self._known:
            raise errors.UnavailableError(
                f"shard {shard} is not there; it may be restarting", reason="SHARD_UNAVAILABLE"
            )
        address = self._known[shard].control_address
        if (shard, address) not in self._channels:
            tls, name = tls_of(self._token), shard_server_name(shard)
            self._channels[shard, address] = aio_channel(address, tls, name)
        return pb_grpc.ShardServiceStub(self._channels[shard, address])


def _held_set(message: pb.HeldSet) -> HeldSet:
    versions = {
        one.number: HeldVersion(
            recorded=one.recorded,
            pieces=frozenset(one.pieces),
            damage=tuple(map(_damage, one.damage)),
        )
        for one in message.versions
    }
    return HeldSet(
        epoch=message.epoch,
        number=message.number,
        versions=versions,
        head=head_move_from_pb(message.head) if message.HasField("head") else None,
    )


def _damage(message: pb.Damage) -> Damage:
    return Damage(
        group=message.group, reason=message.reason, text=message.text, piece=message.piece
    )
