"""Multi30k, German to English: sacreBLEU of the served model on test2016."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sacrebleu

from rows.platform import Platform, Trained, line

AIM, AIM_SECONDS = 30.0, 3600
BEAMS = 5
SIZES = {"layers": 2, "heads": 4, "width": 256, "ff_width": 512, "context": 128}


def spec(data: Path, seed: int, name: str, **changes: Any) -> dict[str, Any]:
    """The job; `changes` are merged into its sections."""
    folder = data / "multi30k-en-de"
    base: dict[str, Any] = {
        "name": f"{name}-{seed}",
        "model": {"family": "transformer", **SIZES, "dropout": 0.1, "norm_order": "pre"},
        "task": {"kind": "translation"},
        "tokenizer": {"kind": "byte_bpe", "vocab_size": 5000, "lowercase": False},
        "data": {
            "files": [str(folder / "train.de.gz")],
            "target_files": [str(folder / "train.en.gz")],
            "validation_files": [str(folder / "val.de.gz")],
            "validation_target_files": [str(folder / "val.en.gz")],
        },
        "resources": {"workers": 2},
        "parallel": {"strategy": "ddp"},  # so small a model is not worth sharding
        "train": {
            "steps": 2600, "batch_size": 128, "lr": 1.5e-3, "min_lr": 1e-5, "warmup_steps": 400,
            "beta2": 0.98, "weight_decay": 0.01, "eval_every": 650, "eval_batches": 0,
            "log_every": 50, "seed": seed,
        },
        "publish": {"every": 0},
    }  # fmt: skip
    for section, values in changes.items():
        base[section] = {**base.get(section, {}), **values}
    return base


def texts(data: Path, name: str) -> list[str]:
    """Lines of a file of the data set."""
    with gzip.open(data / "multi30k-en-de" / f"{name}.gz", "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def bleu(platform: Platform, trained: Trained, data: Path) -> float:
    """Deploy, translate the test set, score."""
    sources = texts(data, "test_2016_flickr.de")
    with platform.serving(trained.name) as model:
        found = platform.client.translate(model, sources, beams=BEAMS, max_tokens=80)
    written = [each.hypotheses[0].text for each in found]
    return sacrebleu.corpus_bleu(written, [texts(data, "test_2016_flickr.en")]).score


def run(platform: Platform, data: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """BLEU beside the aim, and beside copying the source."""
    done = [platform.train(spec(data, seed, "multi30k")) for seed in seeds]
    scores = [bleu(platform, each, data) for each in done]
    seconds = round(max(each.seconds for each in done))
    references = [texts(data, "test_2016_flickr.en")]
    copied = sacrebleu.corpus_bleu(texts(data, "test_2016_flickr.de"), references).score
    metric = f"Multi30k de→en, test2016: sacreBLEU, {BEAMS} beams"
    yield line(metric, scores, "BLEU", "the aim, within an hour", [AIM], seconds=seconds)
    yield line(metric, scores, "BLEU", "copying the source", [copied], seconds=seconds)


def missed(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the aim lacks; empty: it is reached."""
    value, seconds = lines[0]["value"], lines[0]["seconds"]
    if value < AIM:
        return f"sacreBLEU of {value}, below {AIM}"
    return f"{seconds} s for a job, above {AIM_SECONDS}" if seconds > AIM_SECONDS else ""
