"""What a commit costs a training step: ours, one copy of the memory, torch.distributed.checkpoint.

A GPT with AdamW's states. `stall` is how long training stands still; `whole` is until the version
is durable on a shard, in a process of its own. The peer saves the same state to a folder, by
`async_save` and by `save`. Rounds alternate. One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import structlog
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from tessera.device import Device
from tessera.models.registry import FAMILIES, build
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.versions import layout
from tessera.trainer.versions.background_publisher import BackgroundPublisher
from tessera.trainer.versions.publish import Publisher
from tessera.weights.coordinator import Coordinator

MIB = 1024 * 1024
WIDTH, CONTEXT, WORDS = 512, 256, 4096
LAYER_BYTES = 12 * WIDTH * WIDTH * 12
"""Of a layer: twelve squares of its width, in float32, with two states."""


class State:
    """A model and its optimizer after one step, of about so many bytes."""

    def __init__(self, size: int) -> None:
        family = FAMILIES["gpt"]
        sizes = {
            "layers": max(1, round(size / LAYER_BYTES)),
            "heads": 8,
            "width": WIDTH,
            "context": CONTEXT,
        }
        self.config = family.config(sizes, family.task(""), vocab_size=WORDS)
        self.module = build(self.config)
        self.optimizer = torch.optim.AdamW(self.module.parameters())
        for parameter in self.module.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad()
        placed = layout.layout(self.module, self.optimizer)
        self.tensors = [item.part for item in placed if item.part is not None]
        self.size = sum(tensor.nbytes for tensor in self.tensors)
        self.copies = [torch.full_like(tensor, 1) for tensor in self.tensors]

    def copy(self) -> None:
        """Into memory that was touched before."""
        for copy, tensor in zip(self.copies, self.tensors, strict=True):
            copy.copy_(tensor)

    def named(self) -> dict[str, Any]:
        """As the peer takes it."""
        return {str(number): tensor for number, tensor in enumerate(self.tensors)}


class Rounds:
    """Takes turns, and keeps the seconds that each took."""

    def __init__(self, state: State, publisher: Publisher, folder: Path) -> None:
        self._state = state
        self._background = BackgroundPublisher(publisher)
        self._folder = folder
        self._step = 0
        self.wall: dict[str, list[float]] = defaultdict(list)

    def take(self) -> None:
        """One of each."""
        self._timed("memcpy", self._state.copy)
        self._step += 1
        begin = time.perf_counter()
        self._timed("stall", lambda: self._background.begin(Position(step=self._step), {}))
        self._background.finish()
        self.wall["whole"].append(time.perf_counter() - begin)
        begin, target = time.perf_counter(), self._folder / f"async-{self._step}"
        saving: list[Any] = []
        self._timed(
            "dcp_stall",
            lambda: saving.append(dcp.async_save(self._state.named(), checkpoint_id=target)),
        )
        saving[0].result()
        self.wall["dcp_async_whole"].append(time.perf_counter() - begin)
        other = self._folder / f"sync-{self._step}"
        self._timed("dcp_save", lambda: dcp.save(self._state.named(), checkpoint_id=other))
        shutil.rmtree(target)
        shutil.rmtree(other)

    def _timed(self, name: str, work: Any) -> None:
        begin = time.perf_counter()
        work()
        self.wall[name].append(time.perf_counter() - begin)


def measure(found: dict[str, str], size: int, rounds: int, folder: Path) -> None:
    state = State(size)
    coordinator = Coordinator(found["controller"], found["token"])
    grant = coordinator.acquire_writer("default/commit", "bench", 1, keep=1)
    publisher = Publisher(
        ranks=Ranks(rank=0, world_size=1, local_rank=0),
        device=Device.for_accelerator(""),
        module=state.module,
        optimizer=state.optimizer,
        coordinator=coordinator,
        token=found["token"],
        set="default/commit",
        epoch=grant.epoch,
        config=state.config,
        assets={},
    )
    taken = Rounds(state, publisher, folder)
    for turn in range(rounds + 1):
        taken.take()
        if not turn:
            # The first round touches memory that all that follow use again.
            taken.wall.clear()
    wall = {name: statistics.median(seconds) for name, seconds in taken.wall.items()}
    mib = round(state.size / MIB)
    for metric, baseline in (
        ("stall", "memcpy"),
        ("dcp_stall", "memcpy"),
        ("stall", "dcp_stall"),
        ("whole", "dcp_async_whole"),
        ("whole", "dcp_save"),
    ):
        print(json.dumps({
            "bench": "commit",
            "metric": f"{metric}_{mib}MiB",
            "value": round(wall[metric], 5),
            "unit": "s",
            "baseline": f"{baseline} of the same state",
            "baseline_value": round(wall[baseline], 5),
            "ratio": round(wall[metric] / wall[baseline], 3),
        }), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 MiB, 3 rounds")
    parser.add_argument("--rounds", type=int, default=7, help="that count")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[64, 256, 900],
        help="MiB of the state, in turn",
    )
    options = parser.parse_args()
    sizes, rounds = ([32], 3) if options.quick else (options.sizes, options.rounds)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("torch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    here = Path(__file__).parent / "parameters.py"
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
            command = [sys.executable, str(here), "--serve", folder]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                try:
                    assert server.stdout is not None
                    ready = next(line for line in server.stdout if line.startswith("READY "))
                    peers = Path(folder) / "peers"
                    measure(json.loads(ready.removeprefix("READY ")), size * MIB, rounds, peers)
                finally:
                    server.kill()


if __name__ == "__main__":
    main()
