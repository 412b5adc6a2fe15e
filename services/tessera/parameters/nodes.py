"""The coordinator and a shard as running servers; who starts them is not their business."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import coordinator_pb2_grpc, shard_pb2_grpc
from tessera.background import Background
from tessera.meter import Meter, NoMeter
from tessera.parameters.buffers import BufferPool
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig, shard_name
from tessera.parameters.copier import Copier
from tessera.parameters.data_folder import DataFolder
from tessera.parameters.inbox import Inbox
from tessera.parameters.lane import Lane
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.metrics import DISK_BYTES
from tessera.parameters.piece_stream import fetch_piece
from tessera.parameters.push_grant import LABEL, GrantSigner, GrantVerifier
from tessera.parameters.reserve import Reserve
from tessera.parameters.scrubber import Scrubber
from tessera.parameters.services import coordinator, data, shard
from tessera.parameters.shards import Shards
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.store import Store
from tessera.parameters.store_id import StoreId
from tessera.parameters.versions import Versions
from tessera.rpc.address import join
from tessera.rpc.data_server import DataServer
from tessera.rpc.door import Door
from tessera.rpc.registration import Registration, endpoint, fetch_verifier
from tessera.rpc.server import Server
from tessera.rpc.tls.identity import listener_of
from tessera.rpc.token import tls_of
from tessera.weights.directory import find

GRACE_SECONDS = 2.0
MEASURE_SECONDS = 5.0


class CoordinatorNode:
    """A coordinator: `start` it inside a running loop, `stop` it there."""

    def __init__(
        self, config: CoordinatorConfig, place: ServiceAddress, meter: Meter | None = None
    ) -> None:
        self._config = config
        self._place = place
        self._meter = meter or NoMeter()
        self.address = ""

    def __repr__(self) -> str:
        """What it coordinates, and where: true for as long as it lives."""
        return f"coordinator: {self._config.shards} shards, at {self.address}"

    async def start(self) -> None:
        """Open the store, listen, and register."""
        place, config = self._place, self._config
        tls = tls_of(place.token)
        verifier = await asyncio.to_thread(fetch_verifier, place.controller, "parameters", tls)
        self._folder = DataFolder(config.data_dir)
        names = [shard_name(index) for index in range(config.shards)]
        store = Store(
            config.data_dir / "coordinator.db", names, config.disk_cap_bytes, config.quota
        )
        shards = Shards(place.controller, place.token, names, config.lost_seconds)
        self._versions = Versions(store, shards, self._meter, config.quota, config.replicas)
        signer = GrantSigner(config.data_dir / "grants.pem")
        self._control = coordinator.CoordinatorControl(self._versions, signer)

        def register(server: Any) -> None:
            coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(self._control, server)

        services = [(coordinator.NAME, register)]
        self._server = Server(
            Door(verifier), services, limits=config.calls, listener=listener_of(tls)
        )
        await self._versions.start()
        self.address = join(place.host, await self._server.start(place.host))
        self._registration = Registration(
            place.controller,
            place.token,
            endpoint(
                registry_pb2.ROLE_COORDINATOR,
                "coordinator",
                self.address,
                labels={"actor": place.actor, LABEL: signer.public_key},
            ),
            verifier,
        )
        await self._registration.start()

    async def stop(self) -> None:
        """Withdraw, let calls end, and close the store."""
        await self._registration.stop()
        await self._server.drain(GRACE_SECONDS)
        await self._control.close()
        await self._versions.stop()
        self._folder.close()


class ShardNode:
    """A shard: `start` it inside a running loop, `stop` it there."""

    def __init__(
        self, config: ShardConfig, place: ServiceAddress, meter: Meter | None = None
    ) -> None:
        self._config = config
        self._place = place
        self._meter = meter or NoMeter()
        self._begun = "nothing"
        self._measuring = Background("measure", self._measure)
        self.address = ""
        self.data_address = ""

    def __repr__(self) -> str:
        """What it began this life with, and where it listens: true for as long as it lives."""
        return f"{self._config.name}: began with {self._begun}, at {self.address}"

    async def start(self) -> None:
        """Recover what is on disk, listen, and register."""
        place, config = self._place, self._config
        tls = tls_of(place.token)
        verifier = await asyncio.to_thread(fetch_verifier, place.controller, "parameters", tls)
        await asyncio.to_thread(self._open)
        inbox, owner = self._inbox, StoreId(self._store.vault)
        copier = Copier(config.name, self._store, partial(fetch_piece, place.token))
        self._control = shard.ShardControl(
            config.name, inbox, self._store, owner, copier, self._reserve, self._meter
        )

        def register(server: Any) -> None:
            shard_pb2_grpc.add_ShardServiceServicer_to_server(self._control, server)

        bulk = self._bulk(owner)
        door, listener = Door(verifier), listener_of(tls)
        self._server = Server(
            door, [(shard.NAME, register)], limits=config.calls, listener=listener
        )
        self._data = DataServer(
            door, data.NAME, bulk.register, limits=config.calls, listener=listener
        )
        self.address = join(place.host, await self._server.start(place.host))
        self.data_address = join(place.host, self._data.start(place.host))
        self._measuring.start()
        self._scrubber = Scrubber(self._store, config.scrub_rate)
        self._scrubber.start()
        known_as = endpoint(
            registry_pb2.ROLE_SHARD,
            config.name,
            self.address,
            data_address=self.data_address,
            labels={"actor": place.actor},
        )
        self._registration = Registration(place.controller, place.token, known_as, verifier)
        await self._registration.start()

    def _open(self) -> None:
        config = self._config
        self._folder = DataFolder(config.data_dir)
        self._reserve = Reserve(config.data_dir)
        self._store = SliceStore(LocalVault(config.data_dir))
        self._begun = _amount(self._store)
        self._inbox = Inbox(self._store, BufferPool(config.pool_bytes, config.warm_bytes))

    def _bulk(self, owner: StoreId) -> data.ShardData:
        """What serves bulk data."""
        config, store = self._config, self._store
        grants = GrantVerifier(lambda: _grant_key(self._place))
        self._lane = Lane(store, config.data_dir)
        if config.lane:
            self._lane.start()
        return data.ShardData(
            config.name, self._inbox, grants, store, owner, self._lane, self._meter
        )

    async def stop(self) -> None:
        """Withdraw, and let streams end."""
        await self._measuring.stop()
        await self._scrubber.stop()
        await self._registration.stop()
        await self._server.drain(GRACE_SECONDS)
        await asyncio.to_thread(self._data.stop, GRACE_SECONDS)
        await asyncio.to_thread(self._lane.stop)
        await self._control.close()
        await asyncio.to_thread(self._inbox.close)
        self._store.close()
        self._folder.close()

    async def _measure(self) -> None:
        """Say again and again what is on disk: Ray forgets a gauge that is not set for 20 s."""
        await asyncio.to_thread(self._reserve.make)
        self._meter.record(DISK_BYTES, await asyncio.to_thread(lambda: self._store.disk_bytes))
        await asyncio.sleep(MEASURE_SECONDS)


def _amount(store: SliceStore) -> str:
    """What is on a disk."""
    if not store.versions:
        return "nothing"
    sets = len({name for name, _ in store.held()})
    return f"{store.disk_bytes / 1e6:.1f} MB (sets {sets}, versions {store.versions})"


def _grant_key(place: ServiceAddress) -> str:
    """The key of the coordinator that lives now."""
    found = find(place.controller, place.token, registry_pb2.ROLE_COORDINATOR, "coordinator")
    return found.labels[LABEL]
