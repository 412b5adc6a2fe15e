"""The same training without a platform: what one would write by hand and start with torchrun.

Takes the model class and nothing else from Tessera. Prints tokens/s of the measured steps.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

from tessera.models.config import GPTConfig
from tessera.models.gpt import GPT


def rate(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return 1e-3 * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - 1 - warmup)
    return 1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * share))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=json.loads, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--skip", type=int, required=True)
    told = parser.parse_args()
    dist.init_process_group("gloo")
    size = dist.get_world_size()
    torch.manual_seed(0)
    config = GPTConfig(**told.model)
    model = GPT(config)
    mesh = init_device_mesh("cpu", (size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
    )
    rows, length = told.batch // size, config.context
    data = torch.randint(0, config.vocab_size, (1_000_000,))
    begin = 0.0
    for step in range(told.steps):
        if step == told.skip:
            dist.barrier()
            begin = time.perf_counter()
        starts = torch.randint(0, len(data) - length - 1, (rows,)).tolist()
        batch = torch.stack([data[at : at + length + 1] for at in starts])
        logits = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, told.steps, told.steps // 20)
        optimizer.step()
        optimizer.zero_grad()
    dist.barrier()
    seconds = time.perf_counter() - begin
    if dist.get_rank() == 0:
        tokens = (told.steps - told.skip) * told.batch * length
        print(json.dumps({"tokens_per_second": tokens / seconds}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
