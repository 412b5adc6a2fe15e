"""What a commit costs a training step: ours, one copy of the memory, torch.distributed.checkpoint.

A GPT with AdamW's states, which all change between rounds. `stall` is how long training stands
still; `whole` is until the version is durable on a shard, in a process of its own. The peer saves
the same state to a folder, by `async_save` and by `save`. Rounds alternate. `lora` is the model
with adapters, which alone change: what is sent, against what has changed, and how long it takes,
against a commit that sends all of it. One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

import parameters
from server_process import keep_stdout, served
from tessera.device import Device
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES, build
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.versions import layout
from tessera.trainer.versions.background_publisher import BackgroundPublisher
from tessera.trainer.versions.publish import Publisher
from tessera.weights.coordinator import Coordinator

MIB = 1024 * 1024
WIDTH, CONTEXT, WORDS = 512, 256, 4096
LORA_MIB = 256
LAYER_BYTES = 12 * WIDTH * WIDTH * 12
"""Of a layer: twelve squares of its width, in float32, with two states."""


class State:
    """A model and its optimizer after one step, of about so many bytes."""

    def __init__(self, size: int, lora: LoRAConfig | None = None) -> None:
        family = FAMILIES["gpt"]
        sizes = {
            "layers": max(1, round(size / LAYER_BYTES)),
            "heads": 8,
            "width": WIDTH,
            "context": CONTEXT,
        }
        self.config = family.config(sizes, family.task(""), vocab_size=WORDS, lora=lora)
        self.module = build(self.config)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(lora is None or "lora_" in name)
        learning = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning)
        for parameter in learning:
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad()
        placed = layout.layout(self.module, self.optimizer)
        self.tensors = [item.part for item in placed if item.part is not None]
        states = [state for each in self.optimizer.state.values() for state in each.values()]
        self.changing = [*learning, *states]
        self.size = sum(tensor.nbytes for tensor in self.tensors)
        self.copies = [torch.full_like(tensor, 1) for tensor in self.tensors]

    @torch.no_grad()
    def change(self) -> int:
        """Take a step, as far as a commit sees it; returns the bytes that are others now."""
        for tensor in self.changing:
            tensor.add_(1)
        return sum(tensor.nbytes for tensor in self.changing)

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
        self._state.change()
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


def publisher_of(state: State, found: dict[str, str], name: str) -> Publisher:
    """Commits the state to a set of its own."""
    coordinator = Coordinator(found["controller"], found["token"])
    grant = coordinator.acquire_writer(f"default/{name}", "bench", 1, keep=1)
    return Publisher(
        ranks=Ranks(rank=0, world_size=1, local_rank=0),
        device=Device.for_accelerator(""),
        module=state.module,
        optimizer=state.optimizer,
        coordinator=coordinator,
        token=found["token"],
        set=f"default/{name}",
        epoch=grant.epoch,
        config=state.config,
        assets={},
    )


def measure_lora(found: dict[str, str], size: int, rounds: int) -> None:
    """Commits of which little has changed: what is sent, and how long it takes."""
    state = State(size, LoRAConfig())
    publisher = publisher_of(state, found, "lora")
    wall: dict[str, list[float]] = defaultdict(list)
    sent, changed = 0, 0
    for turn in range(rounds + 1):
        for name in ("changed", "all"):
            if name == "all":
                publisher.forget()
            changed = state.change()
            snapshot = publisher.snapshot(Position(step=2 * turn + (name == "all")), {})
            begin = time.perf_counter()
            publisher.commit(snapshot)
            if turn:
                wall[name].append(time.perf_counter() - begin)
            if name == "changed":
                sent = publisher.sent
    mib = round(state.size / MIB)
    middle = {name: statistics.median(seconds) for name, seconds in wall.items()}
    for metric, unit, value, baseline, baseline_value in (
        ("lora_sent", "B", sent, "what has changed", changed),
        ("lora_whole", "s", middle["changed"], "a commit that sends all of it", middle["all"]),
    ):
        print(json.dumps({
            "bench": "commit",
            "metric": f"{metric}_{mib}MiB",
            "value": round(value, 5),
            "unit": unit,
            "baseline": baseline,
            "baseline_value": round(baseline_value, 5),
            "ratio": round(value / baseline_value, 3),
        }), flush=True)  # fmt: skip


def measure(found: dict[str, str], size: int, rounds: int, folder: Path) -> None:
    state = State(size)
    publisher = publisher_of(state, found, "commit")
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
    keep_stdout()
    logging.getLogger("torch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    for size in sizes:
        with served(parameters.__file__) as server:
            measure(server.told, size * MIB, rounds, server.folder / "peers")
            if size == sizes[-1]:
                measure_lora(server.told, min(size, LORA_MIB) * MIB, rounds)


if __name__ == "__main__":
    main()
