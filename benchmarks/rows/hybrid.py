"""BERT-GPT against a Transformer: equal size, data, steps and optimizer, on Multi30k de→en."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rows import multi30k
from rows.platform import Platform, line

STEPS = {"steps": 900, "warmup_steps": 200, "eval_every": 450}
HYBRID = {
    "model": {
        "family": "bert_gpt", "share_embeddings": True, "norm_order": "pre", "dropout": 0.1,
    },
    "task": {"kind": "joint", "label_smoothing": 0.1},
}  # fmt: skip


def run(platform: Platform, data: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """BLEU of both, seed by seed."""
    hybrid, plain, seconds = [], [], []
    for seed in seeds:
        one = platform.train(multi30k.spec(data, seed, "hybrid", train=STEPS, **HYBRID))
        other = platform.train(multi30k.spec(data, seed, "plain", train=STEPS))
        hybrid.append(multi30k.bleu(platform, one, data))
        plain.append(multi30k.bleu(platform, other, data))
        seconds.append(one.seconds)
    metric = "BERT-GPT (joint) on Multi30k de→en: sacreBLEU"
    peer = "Transformer of equal size and training"
    yield line(metric, hybrid, "BLEU", peer, fmean(plain), seconds=round(max(seconds)))
