"""The same training without a platform: what one would write by hand and start with torchrun.

Takes the model class and nothing else from Tessera. Writes tokens/s of the measured steps.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tessera.models.block import Block
from tessera.models.inputs import Inputs
from tessera.models.registry import build, family

START, MASK, SPECIAL = 2, 4, 5
"""Ids of two special tokens, and the first that is none."""

Step = Callable[[nn.Module], Tensor]


def language_modeling(rows: int, length: int, vocabulary: int) -> Step:
    """Next tokens of windows of a long text."""
    text = torch.randint(0, vocabulary, (200_000,))

    def loss(model: nn.Module) -> Tensor:
        starts = torch.randint(0, len(text) - length - 1, (rows,)).tolist()
        batch = torch.stack([text[at : at + length + 1] for at in starts])
        logits = model(Inputs(batch[:, :-1])).logits
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    return loss


def hidden(tokens: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Tokens with 15% of them chosen, most of those hidden, and the places of the chosen."""
    chosen = torch.rand(tokens.shape) < 0.15
    lot = torch.rand(tokens.shape)
    others = torch.randint(SPECIAL, vocabulary, tokens.shape)
    seen = torch.where(chosen & (lot < 0.8), MASK, tokens)
    seen = torch.where(chosen & (lot >= 0.8) & (lot < 0.9), others, seen)
    return seen, chosen.flatten().nonzero()[:, 0]


def masked_language_modeling(rows: int, length: int, vocabulary: int) -> Step:
    """Hidden tokens of windows of a long text."""
    text = torch.randint(SPECIAL, vocabulary, (200_000,))

    def loss(model: nn.Module) -> Tensor:
        starts = torch.randint(0, len(text) - length, (rows,)).tolist()
        batch = torch.stack([text[at : at + length] for at in starts])
        seen, places = hidden(batch, vocabulary)
        logits = model(Inputs(seen, masked_at=places)).masked
        return functional.cross_entropy(logits, batch.flatten()[places])

    return loss


def pairs(rows: int, length: int, vocabulary: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Sources, and targets of one token more."""
    sources = torch.randint(SPECIAL, vocabulary, (1000, length))
    targets = torch.randint(SPECIAL, vocabulary, (1000, length + 1))
    targets[:, 0] = START

    def draw() -> tuple[Tensor, Tensor]:
        picked = torch.randint(0, len(sources), (rows,))
        return sources[picked], targets[picked]

    return draw


def translation(rows: int, length: int, vocabulary: int) -> Step:
    """Next tokens of targets."""
    draw = pairs(rows, length, vocabulary)

    def loss(model: nn.Module) -> Tensor:
        source, target = draw()
        logits = model(Inputs(source, decoder_tokens=target[:, :-1])).logits
        return functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())

    return loss


def joint(rows: int, length: int, vocabulary: int) -> Step:
    """Hidden tokens of sources, and next tokens of targets."""
    draw = pairs(rows, length, vocabulary)

    def loss(model: nn.Module) -> Tensor:
        source, target = draw()
        seen, places = hidden(source, vocabulary)
        found = model(
            Inputs(source, decoder_tokens=target[:, :-1], masked_tokens=seen, masked_at=places)
        )
        following = functional.cross_entropy(found.logits.flatten(0, 1), target[:, 1:].flatten())
        return following + functional.cross_entropy(found.masked, source.flatten()[places])

    return loss


TASKS = {
    step.__name__: step
    for step in (language_modeling, masked_language_modeling, translation, joint)
}


def rate(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return 1e-3 * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - 1 - warmup)
    return 1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * share))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    plan = json.loads(told.plan.read_text())
    dist.init_process_group("gloo")
    size = dist.get_world_size()
    torch.manual_seed(0)
    kind = family(plan["family"])
    vocabulary = plan["vocabulary"]
    model: nn.Module = build(
        kind.config(plan["model"], kind.task(plan["task"]), vocab_size=vocabulary)
    )
    if plan["strategy"] == "fsdp":
        mesh = init_device_mesh("cpu", (size,))
        for block in [part for part in model.modules() if isinstance(part, Block)]:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    else:
        model = DistributedDataParallel(model)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
        fused=True,
    )
    torch.manual_seed(1 + dist.get_rank())
    loss = TASKS[plan["task"]](plan["batch"] // size, plan["model"]["context"], vocabulary)
    begin = 0.0
    for step in range(plan["steps"]):
        if step == plan["skip"]:
            dist.barrier()
            begin = time.perf_counter()
        loss(model).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, plan["steps"], 1)
        optimizer.step()
        optimizer.zero_grad()
    dist.barrier()
    seconds = time.perf_counter() - begin
    if dist.get_rank() == 0:
        tokens = (plan["steps"] - plan["skip"]) * plan["batch"] * plan["tokens"]
        told.out.write_text(json.dumps({"tokens_per_second": tokens / seconds}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
