"""Training on one accelerator: tokens/s and the share of its peak (MFU), compiled, in bfloat16.

Needs PyTorch and nothing else: no Ray, no services, no data. Where transformers is installed, its
model of the same size is trained beside ours, interleaved. One JSON object per line:

    python benchmarks/gpu_training.py [--models gpt2,bert-base] [--accelerator GPU] [--repeat 5]

run.py takes the lines into docs/benchmarks.md, with the hardware that they name.

The FLOPs of a token are those of Chowdhery et al. (2022), appendix B: 6 for each weight of a matrix
that it is multiplied by, and attention's own; nothing that is computed twice counts twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.device import Device
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.inputs import Inputs
from tessera.models.registry import FAMILIES, build
from tessera.models.tasks import kind_of

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bfloat16 FLOP/s, as the maker states them."""

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """One model: family, preset, vocabulary (a multiple of 64), rows and length of a batch."""

    family: str
    preset: str
    vocabulary: int
    rows: int
    length: int


CASES = {
    "gpt2": Case("gpt", "gpt2", 50304, 32, 1024),
    "bert-base": Case("bert", "bert-base", 30528, 64, 512),
    "transformer-base": Case("transformer", "transformer-base", 32000, 96, 256),
    "bert-gpt-base": Case("bert_gpt", "bert-gpt-base", 32000, 48, 256),
    "tiny": Case("gpt", "tiny", 512, 4, 64),
}
"""`tiny` is for trying this script out where there is no accelerator."""


def config_of(case: Case) -> ModelConfig:
    """The model of a case; no dropout, as in the figures that others publish."""
    family = FAMILIES[case.family]
    none = {"dropout": 0.0, "attention_dropout": 0.0}
    sizes = {**family.presets[case.preset], **none, "context": case.length}
    return family.config(sizes, vocab_size=case.vocabulary, start_id=0, end_id=1, pad_id=2)


def flops(config: ModelConfig, rows: int, length: int, hidden: int) -> float:
    """FLOPs of one step, forward and backward."""
    tokens = rows * length
    passes = 2 if config.task.kind == "joint" else 1
    total = 0.0
    if config.encoder is not None:
        total += passes * tokens * _stack(config.encoder, length, cross=False, causal=False)
    if config.decoder is not None:
        cross = config.encoder is not None
        total += tokens * _stack(config.decoder, length, cross=cross, causal=True)
    if "language" in kind_of(config.task).head_names:
        total += 6 * tokens * config.width * config.target_vocab_size
    if "masked" in kind_of(config.task).head_names:
        total += 6 * hidden * config.width * (config.vocab_size + config.width)
    return total


def _stack(stack: StackConfig, length: int, *, cross: bool, causal: bool) -> float:
    """FLOPs of a token in one stack."""
    width, keys = stack.width, stack.kv_heads * stack.head_dim
    attention = 2 * width * width + 2 * width * keys
    gates = 3 if stack.activation == "swiglu" else 2
    matrices = attention * (2 if cross else 1) + gates * width * stack.ff_width
    # Scores and mixed values, forward and twice that backward; a causal one computes half of them.
    mixing = 12 * width * length * (0.5 if causal else 1.0) + (12 * width * length if cross else 0)
    return stack.layers * (6 * matrices + mixing)


def batch(config: ModelConfig, case: Case, device: torch.device) -> tuple[Inputs, Tensor, Tensor]:
    """Inputs, next tokens and hidden tokens, all made up."""
    shape = (case.rows, case.length)
    tokens = torch.randint(3, case.vocabulary, shape, device=device)
    targets = torch.randint(3, case.vocabulary, shape, device=device)
    places = torch.randperm(case.rows * case.length, device=device)[: tokens.numel() * 3 // 20]
    places, _ = places.sort()
    heads = kind_of(config.task).head_names
    inputs = Inputs(
        tokens=tokens,
        decoder_tokens=targets.roll(1, 1) if config.encoder and config.decoder else None,
        masked_tokens=tokens if heads == ("masked", "language") else None,
        masked_at=places if "masked" in heads else None,
    )
    return inputs, targets, tokens.flatten()[places]


def loss_of(model: nn.Module, inputs: Inputs, targets: Tensor, hidden: Tensor) -> Tensor:
    """Mean losses of the heads that are there, summed."""
    out = model(inputs)
    loss = torch.zeros((), device=targets.device)
    if out.logits is not None:
        loss = loss + functional.cross_entropy(out.logits.flatten(0, 1).float(), targets.flatten())
    if out.masked is not None:
        loss = loss + functional.cross_entropy(out.masked.float(), hidden)
    return loss


def stepper(model: nn.Module, loss: Callable[[], Tensor], device: Device) -> Step:
    """One optimizer step of AdamW in bfloat16."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> Tensor:
        with device.autocast(bf16=True):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value

    return step


def ours(case: Case, device: Device) -> tuple[Step, float]:
    """A step of ours, and its FLOPs."""
    config = config_of(case)
    with torch.device(device.torch):
        model = build(config)
    compiled = torch.compile(model, backend=device.compile_backend, dynamic=False)
    inputs, targets, hidden = batch(config, case, device.torch)
    step = stepper(model, lambda: loss_of(compiled, inputs, targets, hidden), device)
    return step, flops(config, case.rows, case.length, hidden.numel())


def theirs(case: Case, device: Device) -> Step | None:
    """The same of transformers, for the two families whose model and loss are the very same."""
    try:
        import transformers
    except ModuleNotFoundError:
        return None
    sizes = FAMILIES[case.family].presets[case.preset]
    with torch.device(device.torch):
        if case.family == "gpt":
            model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
                vocab_size=case.vocabulary, n_layer=sizes["layers"], n_head=sizes["heads"],
                n_embd=sizes["width"], n_positions=case.length, resid_pdrop=0.0, embd_pdrop=0.0,
                attn_pdrop=0.0,
            ))  # fmt: skip
        elif case.family == "bert":
            model = transformers.BertForMaskedLM(transformers.BertConfig(
                vocab_size=case.vocabulary, num_hidden_layers=sizes["layers"],
                num_attention_heads=sizes["heads"], hidden_size=sizes["width"],
                intermediate_size=4 * int(sizes["width"]), max_position_embeddings=case.length,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            ))  # fmt: skip
        else:
            return None
        model.train()
        tokens = torch.randint(3, case.vocabulary, (case.rows, case.length))
        labels = tokens.clone()
        if case.family == "bert":
            labels[torch.rand(labels.shape) > 0.15] = -100
    compiled = torch.compile(model, backend=device.compile_backend, dynamic=False)
    return stepper(model, lambda: compiled(input_ids=tokens, labels=labels).loss, device)


def seconds(step: Step, device: Device, steps: int) -> float:
    """Of one step, over several."""
    device.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    device.synchronize()
    return (time.perf_counter() - begin) / steps


def measure(name: str, device: Device, repeat: int, steps: int) -> None:
    """Measure one model, beside its peer, and print its lines."""
    case = CASES[name]
    step, work = ours(case, device)
    peer = theirs(case, device)
    for warm in (step, peer):
        if warm is not None:
            seconds(warm, device, 3)
    mine: list[float] = []
    other: list[float] = []
    for turn in range(repeat):
        for own in (True, False) if turn % 2 else (False, True):
            if own:
                mine.append(seconds(step, device, steps))
            elif peer is not None:
                other.append(seconds(peer, device, steps))
    middle = statistics.median(mine)
    tokens = case.rows * case.length
    about = {
        "hardware": hardware(device), "rows": case.rows, "length": case.length,
        "torch": torch.__version__, "peak_memory_bytes": device.peak_memory(),
        "day": str(datetime.now(UTC).date()),
    }  # fmt: skip
    if other:
        ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
        beside = ("transformers, compiled, bf16", tokens / statistics.median(other), ratio)
        say(f"{name}: training", tokens / middle, "tokens/s", beside, **about)
    else:
        say(f"{name}: training", tokens / middle, "tokens/s", **about)
    peak = next((v for k, v in PEAKS.items() if k in hardware(device)), None)
    if peak is not None:
        beside = ("peak, dense bf16", peak / 1e12, work / middle / peak)
        say(f"{name}: FLOP/s", work / middle / 1e12, "TFLOP/s", beside, **about)


def hardware(device: Device) -> str:
    """Its name."""
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type


def say(
    metric: str,
    value: float,
    unit: str,
    beside: tuple[str, float, float] | None = None,
    **more: object,
) -> None:
    """Print one result, `beside` its baseline: name, value and ratio."""
    line: dict[str, object] = {"bench": "gpu_training", "metric": metric, "value": round(value, 1)}
    line["unit"] = unit
    if beside is not None:
        baseline, its, ratio = beside
        line |= {"baseline": baseline, "baseline_value": round(its, 1), "ratio": round(ratio, 3)}
    print(json.dumps({**line, **more}), flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = [name for name in CASES if name != "tiny"]
    parser.add_argument("--models", default=",".join(known), help="some of: " + ", ".join(CASES))
    parser.add_argument("--accelerator", default="GPU", help="as in a spec; empty: the CPU")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps of one measurement")
    told = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    device = Device.for_accelerator(told.accelerator)
    device.use()
    for name in told.models.split(","):
        measure(name, device, told.repeat, told.steps)


if __name__ == "__main__":
    main()
