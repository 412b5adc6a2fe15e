"""A parameter service without sockets, of which everything can crash at any step."""

from __future__ import annotations

import asyncio

import numpy as np
import xxhash

from tessera.api.controller.v1 import registry_pb2
from tessera.meter import NoMeter
from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.copier import Copier, PieceContent
from tessera.parameters.inbox import Inbox
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.push_stream import Announced, PushStream
from tessera.parameters.quota import DEFAULT
from tessera.parameters.reading import Item, Reading
from tessera.parameters.reserve import Reserve
from tessera.parameters.services.shard import ShardControl
from tessera.parameters.shards import Shards
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.store import Store
from tessera.parameters.store_id import StoreId
from tessera.parameters.versions import Versions
from tessera.weights import manifest_parts, messages
from tessera.weights.box import Box
from tessera.weights.manifest import TensorSpec

SHARDS = ("shard-0", "shard-1")
TENSORS = (
    TensorSpec(group="model", name="w", shape=(5, 4), dtype="U8"),
    TensorSpec(group="optimizer", name="m", shape=(3,), dtype="U8"),
)


class Crash(BaseException):
    """The end of every process."""


class Fuse:
    """Counts the steps that touch a disk; at one of them, and at all that follow, it crashes.

    Only what lies below `root` counts: other services may run in this process.
    """

    def __init__(self):
        self.left = None
        self.root = ""

    def burn(self, path):
        if self.left is None or not str(path).startswith(self.root):
            return
        self.left -= 1
        if self.left < 0:
            raise Crash

    def before(self, call, path_of=lambda path: path):
        def burning(first, *args, **kwargs):
            self.burn(path_of(first))
            return call(first, *args, **kwargs)

        return burning


FUSE = Fuse()


class DirectShards(Shards):
    """Clients of shards in this process: messages as on the wire, but no wire."""

    def __init__(self, controls):
        super().__init__("", "", SHARDS)
        self._controls = controls

    async def refresh(self):
        self._known = {
            name: registry_pb2.Endpoint(name=name, data_address="127.0.0.1:1", control_address=name)
            for name in SHARDS
        }
        return dict.fromkeys(SHARDS, "")

    async def _call(self, shard, method, request, seconds):
        sent = type(request).FromString(request.SerializeToString())
        return await getattr(self._controls[shard], method)(sent, None)


class World:
    """All processes of a parameter service."""

    def __init__(self, root):
        self.root = root
        FUSE.root = f"{root}/"
        self.loop = asyncio.new_event_loop()
        self.start()

    def start(self):
        self.inboxes, self.stores, self.controls = {}, {}, {}
        for name in SHARDS:
            store = SliceStore(LocalVault(self.root / name))
            self.stores[name] = store
            self.inboxes[name] = Inbox(store, BufferPool(2 * BLOCK_BYTES))
            owner = StoreId(store.vault)
            copier = Copier(name, store, self.fetch)
            reserve = Reserve(self.root / name)
            self.controls[name] = ShardControl(
                name, self.inboxes[name], store, owner, copier, reserve, NoMeter()
            )
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
        self.run(self.versions._reconciler.stop())
        left = asyncio.all_tasks(self.loop)
        if left:
            self.run(asyncio.wait(left))
        FUSE.left = None
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

    def fetch(self, source, key, piece):
        """A piece of another shard, as messages would bring it."""
        found = self.stores[source.name].piece(key, piece)
        slices = tuple(found.slices[offset] for offset in sorted(found.slices))

        def data():
            with found.opened() as file:
                for one in slices:
                    yield from file.read(one, 0, one.size)

        return PieceContent(group=found.group, slices=slices, data=data())

    def read(self, name, number):
        """What readers get of a version, by tensor."""
        version, content = self.run(
            self.versions.ask(self.versions.store.reader.content, name, number, [], 0)
        )
        holders = self.run(self.versions.ask(self.versions.store.holders.of, name, number))
        parts = manifest_parts.cut(
            messages.version_to_pb(version), content, version.groups, holders
        )
        manifest = messages.manifest_from_pb(manifest_parts.join(parts))
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
