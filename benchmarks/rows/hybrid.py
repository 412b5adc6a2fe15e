"""BERT-GPT against a Transformer: equal size, data, steps and optimizer, on Multi30k de→en.

Twice: learning jointly to find hidden words of the source, which takes a part of what each step
teaches, and learning to translate alone, as the Transformer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rows import multi30k
from rows.platform import Platform, line

STEPS = {"steps": 900, "warmup_steps": 200, "eval_every": 450}
MODEL = {"family": "bert_gpt", "share_embeddings": True, "norm_order": "pre", "dropout": 0.1}
TASKS = ("joint", "translation")


def run(platform: Platform, data: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """BLEU of all three, seed by seed."""
    scores: dict[str, list[float]] = {name: [] for name in (*TASKS, "plain")}
    seconds: dict[str, list[float]] = {name: [] for name in scores}
    for seed in seeds:
        for name, found in scores.items():
            changes: dict[str, Any] = {"train": STEPS}
            if name in TASKS:
                changes |= {"model": MODEL, "task": {"kind": name, "label_smoothing": 0.1}}
            trained = platform.train(multi30k.spec(data, seed, name, **changes))
            found.append(multi30k.bleu(platform, trained, data))
            seconds[name].append(trained.seconds)
    peer = "Transformer of equal size and training"
    for name in TASKS:
        metric = f"BERT-GPT ({name}) on Multi30k de→en: sacreBLEU"
        longest = round(max(seconds[name]))
        yield line(metric, scores[name], "BLEU", peer, scores["plain"], seconds=longest)


def missed(_: Sequence[Mapping[str, Any]]) -> str:
    """Nothing: it is a comparison, whoever is ahead."""
    return ""
