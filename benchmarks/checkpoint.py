"""Four ranks' FSDP state saved, and loaded by two ranks' columns: torch.distributed.checkpoint's.

A GPT with AdamW's states, all of which change between rounds. `save` is a commit that is waited
for (snapshot, push, seal, commit) beside the peer's `save`; `stall` how long a background commit
holds training up, and `whole` until it is durable, beside `async_save`, as it is and with a stager
that is kept; `load` fills the halves of each tensor's last axis on two ranks (get the manifest,
pull). Ours go through a shard in a process of its own, whose CPU is counted, the peer's into a
folder of the same disk. Both fsync what they write; ours also the folders that name it and the
coordinator's transactions. Ours checks every byte that is read against a checksum, the peer none.
All that is read lies in the page cache. Rounds alternate. One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import structlog
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from peers.checkpoint import Folder
from tessera.device import Device
from tessera.models.registry import FAMILIES, build
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.versions import layout
from tessera.trainer.versions.background_publisher import BackgroundPublisher
from tessera.trainer.versions.publish import Publisher
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.pull import Want, pull

MIB = 1024 * 1024
SAVERS, LOADERS = 4, 2
WIDTH, CONTEXT, WORDS = 512, 256, 4096
LAYER_BYTES = 12 * WIDTH * WIDTH * 12
"""Of a layer: twelve squares of its width, in float32, with two states."""

EMBEDDING_BYTES = (WORDS + CONTEXT) * WIDTH * 12

SET = "default/checkpoint"


class State:
    """A model and its optimizer after one step, of about so many bytes, in rows over the ranks."""

    def __init__(self, size: int, mesh: DeviceMesh) -> None:
        family = FAMILIES["gpt"]
        sizes = {
            "layers": max(1, round((size - EMBEDDING_BYTES) / LAYER_BYTES)),
            "heads": 8,
            "width": WIDTH,
            "context": CONTEXT,
        }
        self.config = family.config(sizes, family.task(""), vocab_size=WORDS)
        torch.manual_seed(0)
        self.module = build(self.config)
        fully_shard(self.module, mesh=mesh)
        self.optimizer = torch.optim.AdamW(self.module.parameters())
        for parameter in self.module.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.named = self._named()
        self.size = sum(tensor.nbytes for tensor in self.named.values())

    def _named(self) -> dict[str, Tensor]:
        """As the peer takes it, by the names that ours has."""
        named: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            named[f"{layout.MODEL}/{name}"] = parameter.detach()
            for kind, state in self.optimizer.state[parameter].items():
                named[f"{layout.OPTIMIZER}/{kind}/{name}"] = state
        return named

    @torch.no_grad()
    def change(self) -> None:
        """Take a step, as far as a commit sees it."""
        for tensor in self.named.values():
            tensor.add_(1)


class Columns:
    """The same tensors as two ranks hold them: halves of the last axis."""

    def __init__(self, state: State, mesh: DeviceMesh) -> None:
        rank = mesh.get_local_rank()
        self.boxes: dict[str, Box] = {}
        self.local: dict[str, Tensor] = {}
        self.placed: dict[str, Tensor] = {}
        for name, tensor in state.named.items():
            self.boxes[name] = box = half(tuple(tensor.shape), rank)
            self.local[name] = local = torch.zeros(box.extents, dtype=tensor.dtype)
            self.placed[name] = local
            if tensor.ndim:
                self.placed[name] = DTensor.from_local(
                    local,
                    mesh,
                    [Shard(tensor.ndim - 1)],
                    shape=tensor.shape,
                    stride=tensor.stride(),
                )

    def clear(self) -> None:
        """Forget what was loaded."""
        for local in self.local.values():
            local.zero_()

    def wants(self) -> list[Want]:
        """As ours takes them."""
        wants = []
        for name, local in self.local.items():
            group, _, own = name.partition("/")
            out = layout.to_bytes(local)
            wants.append(Want(group=group, name=own, box=self.boxes[name], out=out))
        return wants


def half(shape: tuple[int, ...], rank: int) -> Box:
    """A rank's half of the last axis; of a scalar all."""
    if not shape:
        return Box.whole(shape)
    extent = shape[-1] // LOADERS
    return Box((*(0 for _ in shape[1:]), rank * extent), (*shape[:-1], extent))


class Rounds:
    """Takes turns, and keeps the wall and CPU seconds that each took on all ranks together."""

    def __init__(self, state: State, publisher: Publisher, folder: Path, server: int) -> None:
        self._state = state
        self._publisher = publisher
        self._background = BackgroundPublisher(publisher)
        self._ranks = publisher.ranks
        self._peer = Folder(folder)
        self._server = psutil.Process(server)
        names = ("pair", "half")
        self._mesh = init_device_mesh("cpu", (SAVERS // LOADERS, LOADERS), mesh_dim_names=names)
        self._columns = Columns(state, self._mesh["half"])
        self._step = 0
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    def take(self, *, check: bool) -> None:
        """One of each."""
        self._state.change()
        self._step += 1
        names = [f"{kind}-{self._step}" for kind in ("save", "async", "kept")]
        save, fresh, kept = names
        self._timed("save", self._commit)
        self._timed("dcp_save", lambda: self._peer.save(save, self._state.named))
        # Ours would send nothing of what has not changed.
        self._state.change()
        self._begun("", self._begin)
        for kind, name, keep in (("dcp", fresh, False), ("dcp_kept", kept, True)):
            self._begun(f"{kind}_", lambda n=name, k=keep: self._begin_peer(n, kept=k))
        for kind, load in (("load", self._pull), ("dcp_load", lambda: self._load(kept))):
            self._columns.clear()
            self._timed(kind, load)
            if check:
                self._check()
        if self._ranks.is_main:
            for name in names:
                self._peer.remove(name)

    def close(self) -> None:
        """End the threads."""
        self._background.close()
        self._peer.close()

    def _commit(self) -> None:
        self._publisher.commit(self._publisher.snapshot(Position(step=2 * self._step), {}))

    def _begin(self) -> Callable[[], Any]:
        self._background.begin(Position(step=2 * self._step + 1), {})
        return self._background.finish

    def _begin_peer(self, name: str, *, kept: bool) -> Callable[[], Any]:
        return self._peer.begin(name, self._state.named, kept=kept).result

    @property
    def _loads(self) -> bool:
        return self._ranks.rank < LOADERS

    def _pull(self) -> None:
        if self._loads:
            manifest = self._publisher.coordinator.get_manifest(SET)
            pull(manifest, self._columns.wants(), self._publisher.token)

    def _load(self, name: str) -> None:
        if self._loads:
            self._peer.load(name, self._columns.placed, self._mesh["half"].get_group())

    def _check(self) -> None:
        """What was loaded is what was saved."""
        for name, tensor in self._state.named.items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            found = self._columns.local[name]
            if self._loads and not torch.equal(found, whole[self._columns.boxes[name].slices]):
                raise SystemExit(f"{name} that was loaded is not what was saved")

    def _begun(self, prefix: str, begin: Callable[[], Callable[[], Any]]) -> None:
        """What goes on when it is begun: until training may go on, and until all is done."""
        stalls: list[float] = []

        def work() -> None:
            start = time.perf_counter()
            finish = begin()
            stalls.append(time.perf_counter() - start)
            finish()

        self._timed(f"{prefix}whole", work)
        # Training goes on when the slowest rank does.
        self.wall[f"{prefix}stall"].append(max(self._ranks.gather(stalls[0])))

    def _timed(self, name: str, work: Callable[[], None]) -> None:
        self._ranks.barrier()
        own, served, start = time.process_time(), self._served(), time.perf_counter()
        work()
        spent = time.process_time() - own
        self._ranks.barrier()
        self.wall[name].append(time.perf_counter() - start)
        (cpu,) = self._ranks.sum(spent)
        self.cpu[name].append(cpu + self._served() - served)

    def _served(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)


def publisher_of(state: State, ranks: Ranks, found: dict[str, str]) -> Publisher:
    """Commits the state."""
    coordinator = Coordinator(found["controller"], found["token"])
    epoch = ranks.on_main(lambda: coordinator.acquire_writer(SET, "bench", 1, keep=1).epoch)
    return Publisher(
        ranks=ranks,
        device=Device.for_accelerator(""),
        module=state.module,
        optimizer=state.optimizer,
        coordinator=coordinator,
        token=found["token"],
        set=SET,
        epoch=epoch,
        config=state.config,
        assets={},
    )


def report(taken: Rounds, mib: int) -> None:
    """Print medians."""
    wall, cpu = (
        {name: statistics.median(seconds) for name, seconds in each.items()}
        for each in (taken.wall, taken.cpu)
    )
    for metric, unit, values, peer, baseline in (
        ("save", "s", wall, "dcp_save", "dcp.save"),
        ("save", "s of CPU", cpu, "dcp_save", "dcp.save"),
        ("stall", "s", wall, "dcp_stall", "dcp.async_save"),
        ("stall", "s", wall, "dcp_kept_stall", "dcp.async_save with a stager that is kept"),
        ("whole", "s", wall, "dcp_kept_whole", "dcp.async_save with a stager that is kept"),
        ("whole", "s of CPU", cpu, "dcp_kept_whole", "dcp.async_save with a stager that is kept"),
        ("load", "s", wall, "dcp_load", "dcp.load"),
        ("load", "s of CPU", cpu, "dcp_load", "dcp.load"),
    ):
        print(json.dumps({
            "bench": "checkpoint",
            "metric": f"{metric}_{mib}MiB",
            "value": round(values[metric], 4),
            "unit": unit,
            "baseline": baseline,
            "baseline_value": round(values[peer], 4),
            "ratio": round(values[metric] / values[peer], 3),
        }), flush=True)  # fmt: skip


def measure(told: dict[str, Any]) -> None:
    """One rank."""
    folder = Path(told["folder"])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/ranks", rank=told["rank"], world_size=SAVERS
    )
    ranks = Ranks(rank=told["rank"], world_size=SAVERS, local_rank=told["rank"])
    state = State(told["size"], init_device_mesh("cpu", (SAVERS,)))
    publisher = publisher_of(state, ranks, told["found"])
    taken = Rounds(state, publisher, folder / "peer", told["server"])
    for turn in range(told["rounds"] + 1):
        taken.take(check=not turn)
        if not turn:
            # The first round touches memory that all that follow use again.
            taken.wall.clear()
            taken.cpu.clear()
    if ranks.is_main:
        report(taken, round(state.size / MIB))
    taken.close()
    dist.destroy_process_group()


def run(size: int, rounds: int) -> None:
    """The server and the ranks, as processes."""
    serve = [sys.executable, str(Path(__file__).parent / "parameters.py"), "--serve"]
    with (
        tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder,
        # Of the bare stream, which is not used here, it makes a small one.
        subprocess.Popen([*serve, folder, "--quick"], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            ready = next(line for line in server.stdout if line.startswith("READY "))
            told = {
                "folder": folder,
                "size": size,
                "rounds": rounds,
                "server": server.pid,
                "found": json.loads(ready.removeprefix("READY ")),
            }
            each = [json.dumps({**told, "rank": rank}) for rank in range(SAVERS)]
            processes = [subprocess.Popen([sys.executable, __file__, "--told", a]) for a in each]
            codes = [process.wait() for process in processes]
            if any(codes):
                raise SystemExit("a rank failed")
        finally:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 MiB, 3 rounds")
    parser.add_argument("--rounds", type=int, default=7, help="that count")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[64, 512], help="MiB of the state, in turn"
    )
    parser.add_argument("--told", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("torch").setLevel(logging.ERROR)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    if options.told:
        measure(options.told)
        return
    sizes, rounds = ([32], 3) if options.quick else (options.sizes, options.rounds)
    for size in sizes:
        run(size * MIB, rounds)


if __name__ == "__main__":
    main()
