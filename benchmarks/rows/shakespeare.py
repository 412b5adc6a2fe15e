"""Characters of tinyshakespeare: the small configuration of nanoGPT, to 1.88 nats.

4 layers, width 128, context 64, batches of 12, 2,000 iterations; the whole validation split, which
is the last tenth of the text, in windows that do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rows.platform import Platform, line

AIM = 1.88
"""What nanoGPT's README gives for it, over 20 random batches."""


def spec(data: Path, seed: int) -> dict[str, Any]:
    """The job."""
    return {
        "name": f"shakespeare-{seed}",
        "model": {"family": "gpt", "layers": 4, "heads": 4, "width": 128, "context": 64},
        "tokenizer": {"kind": "character"},
        "data": {"files": [str(data / "tinyshakespeare" / "input.txt")], "held_out": 0.1},
        "resources": {"workers": 2},
        "parallel": {"strategy": "ddp"},  # so small a model is not worth sharding
        "train": {
            "steps": 2000, "batch_size": 12, "lr": 2e-3, "min_lr": 1e-4, "warmup_steps": 100,
            "beta2": 0.99, "eval_every": 1000, "eval_batches": 0, "log_every": 100, "seed": seed,
        },
        "publish": {"every": 0},
    }  # fmt: skip


def run(platform: Platform, data: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Held-out loss, beside the aim and beside character bigrams."""
    done = [platform.train(spec(data, seed)) for seed in seeds]
    losses = [each.metrics["held_out_loss"] for each in done]
    seconds = round(max(each.seconds for each in done))
    metric = "tinyshakespeare characters: held-out loss"
    yield line(metric, losses, "nats", "nanoGPT, as published", [AIM], seconds=seconds)
    yield line(metric, losses, "nats", "character bigrams", [done[0].baseline], seconds=seconds)


def missed(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the aim lacks; empty: it is reached."""
    value = lines[0]["value"]
    return f"held-out loss of {value} nats, above {AIM}" if value > AIM else ""
