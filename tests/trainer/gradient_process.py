"""One rank that takes single steps, and tells how far they are from what one process does alone.

argv: a file for the results, which rank 0 writes. The place in the gang is in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from tessera.device import Device
from tessera.models.inputs import Inputs
from tessera.models.lora import LoRALinear
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES, build
from tessera.trainer.batch import TokenBatch
from tessera.trainer.ranks import Ranks
from tessera.trainer.step import learning
from tessera.trainer.step.objective import TaskObjective
from tessera.trainer.step.parallel import Parallel, make_optimizer
from tessera.trainer.step.step import Stepper
from tessera.trainer.task_settings import TaskSettings
from tessera.trainer.tasks.registry import make_task
from tessera.trainer.versions import layout
from training import make_settings, make_tuning

SIZES = {"layers": 2, "heads": 2, "width": 16, "ff_width": 32, "context": 12, "dropout": 0.0}
ROWS, READ, WRITTEN, VOCABULARY = 8, 10, 6, 40

MODELS = {
    "joint": ("bert_gpt", {"kind": "joint", "masked_weight": 0.7, "next_weight": 1.5}),
    "shared": ("transformer", {"kind": "translation"}),
}


def module_of(family, task, lora=None):
    torch.manual_seed(1)
    plain = FAMILIES[family].config(SIZES, task.config(family), vocab_size=VOCABULARY)
    return build(replace(plain, lora=lora)).train()


def samples(joint):
    """Rows of random tokens; the number of targets differs from row to row."""
    random = torch.Generator().manual_seed(2)

    def tokens(*shape):
        return torch.randint(0, VOCABULARY, shape, generator=random)

    return [
        {
            "tokens": tokens(READ),
            "masked_tokens": tokens(READ) if joint else None,
            "decoder_tokens": tokens(WRITTEN),
            "masked": tokens(1 + row % 3),
            "next": tokens(WRITTEN - row % 4),
        }
        for row in range(ROWS)
    ]


def batch_of(rows, joint):
    """Those rows as one batch."""

    def stacked(name):
        return torch.stack([row[name] for row in rows])

    def places(name, length):
        found = [
            i * length + place for i, row in enumerate(rows) for place in range(len(row[name]))
        ]
        return torch.tensor(found), torch.cat([row[name] for row in rows])

    masked_at, masked = places("masked", READ)
    at, following = places("next", WRITTEN)
    inputs = Inputs(
        tokens=stacked("tokens"),
        decoder_tokens=stacked("decoder_tokens"),
        masked_tokens=stacked("masked_tokens") if joint else None,
        at=at,
        masked_at=masked_at if joint else None,
    )
    counts = (len(masked), len(following)) if joint else (len(following),)
    targets = {"masked": masked, "next": following}
    return TokenBatch(inputs=inputs, targets=targets, counts=counts, tokens=ROWS * READ)


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def stepped(ranks, name, strategy, parts, tuning=None, *, hold=False, plain=False):
    """Names and weights after one step of the whole batch, spread over ranks and micro-batches."""
    family, fields = MODELS[name]
    task, tuning = TaskSettings(**fields), tuning or make_tuning()
    settings = make_settings(family=family, task=task, tuning=tuning)
    module = module_of(family, task, tuning.lora)
    learning.freeze(module, tuning)
    device = Device.for_accelerator("")
    parallel = Parallel(module, strategy, device, ranks)
    optimizer = (
        torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=1.0)
        if plain
        else make_optimizer(module, settings)
    )
    stepper = Stepper(
        parallel=parallel,
        optimizer=optimizer,
        objective=TaskObjective(make_task(settings)),
        device=device,
        world_size=ranks.world_size,
        clip_norm=0.0,
        bf16=False,
        frozen_at_start=learning.frozen_at_start(module, tuning),
    )
    joint = name == "joint"
    rows = samples(joint)
    size = ROWS // (ranks.world_size * parts)
    begin = ranks.rank * size * parts
    batches = [
        batch_of(rows[at : at + size], joint) for at in range(begin, begin + size * parts, size)
    ]
    own = zip(*(batch.counts for batch in batches), strict=True)
    done = stepper.step(batches, ranks.sum(*map(sum, own)), 1.0, hold=hold)
    assert torch.isfinite(done.losses).all()
    return module


def alone(name):
    """Weights after one step of the whole batch as one would write it by hand."""
    family, fields = MODELS[name]
    task, joint = TaskSettings(**fields), name == "joint"
    module = module_of(family, task)
    batch = batch_of(samples(joint), joint)
    outputs = module(batch.inputs)
    entropy = torch.nn.functional.cross_entropy
    loss = entropy(outputs.logits, batch.targets["next"])
    if joint:
        loss = 1.5 * loss + 0.7 * entropy(outputs.masked, batch.targets["masked"])
    loss.backward()
    return {n: (p - p.grad).detach() for n, p in module.named_parameters()}


def weights(module):
    return {name: whole(p).detach().clone() for name, p in module.named_parameters()}


def farthest(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def gradients(ranks, results):
    for name in MODELS:
        before, wanted = (
            weights(module_of(MODELS[name][0], TaskSettings(**MODELS[name][1]))),
            alone(name),
        )
        results[f"{name}-size"] = farthest(before, wanted)
        for strategy in ("fsdp", "ddp"):
            for parts in (1, 2):
                found = weights(stepped(ranks, name, strategy, parts, plain=True))
                results[f"{name}-{strategy}-{parts}"] = farthest(found, wanted)


def frozen(ranks, results):
    """Which weights a step leaves alone, by what is frozen and whether it still is."""
    before = weights(module_of(MODELS["joint"][0], TaskSettings(**MODELS["joint"][1])))
    results["encoder"] = [name for name in before if name.startswith("trunk.encoder.")]
    for strategy in ("fsdp", "ddp"):
        for steps, hold in ((0, False), (3, True), (3, False)):
            tuning = make_tuning(freeze=("encoder",), freeze_steps=steps)
            module = stepped(ranks, "joint", strategy, 1, tuning, hold=hold)
            after = weights(module)
            still = [name for name in before if torch.equal(before[name], after[name])]
            results[f"still-{strategy}-{steps}-{hold}"] = still


def merged(ranks, results):
    """Adapters that were trained, sharded, and merged there."""
    lora = LoRAConfig(rank=3, alpha=5.0, targets=("attention.qkv", "mlp.up"))
    tuning = make_tuning(lora=lora)
    for strategy in ("fsdp", "ddp"):
        module = stepped(ranks, "joint", strategy, 1, tuning)
        apart = weights(module)
        learning.merge(module)
        together = weights(module)
        far, adapters = 0.0, 0
        for name, layer in module.named_modules():
            if isinstance(layer, LoRALinear):
                low = apart[f"{name}.lora_b"] @ apart[f"{name}.lora_a"]
                wanted = apart[f"{name}.weight"] + 5 / 3 * low
                far = max(far, float((together[f"{name}.weight"] - wanted).abs().max()))
                adapters += int(bool(low.any()))
        optimizer = make_optimizer(module, make_settings())
        placed = layout.layout(module, optimizer)
        states = {item.spec.name for item in placed if item.spec.group == layout.OPTIMIZER}
        results[f"merged-{strategy}"] = {
            "far": far,
            "adapters": adapters,
            "states": sorted({name.split("/")[1].rsplit(".", 1)[1] for name in states}),
        }


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks, results = Ranks.joined(), {}
    gradients(ranks, results)
    frozen(ranks, results)
    merged(ranks, results)
    if ranks.is_main:
        Path(sys.argv[1]).write_text(json.dumps(results))
    ranks.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
