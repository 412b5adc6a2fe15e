"""Training of each family through Tessera's loop, against two ways to do it without a platform.

    python benchmarks/training.py [--families gpt,bert] [--peers plain,transformers] [--repeat 5]

`plain` is a loop of the same model written by hand, `transformers` the Trainer of Hugging Face on
its own model of the same sizes. Everyone runs as two processes of one thread under torchrun, with
AdamW, clipping and a warm-up, without dropout, with the same sharding: DDP, and for a GPT FSDP2
too. They take turns, the first steps of each run are left out, and the ratio is the median of those
of the turns. One JSON object per line.

The sizes are those of BERT-mini (4 layers of width 256, 4 heads, 3 to 10 million weights), the
sequences have 128 tokens of a vocabulary of 4,096, and a step reads 8 of them: about what people
train on CPUs. The text is random characters, one token each, in lines of one length, so that nobody
pads. Tokens are those that a model reads: of source and target where there are two.

Transformers has no joint loss of encoder and decoder: there a BERT-GPT is compared as a translator.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch.distributed.run

PEERS = {
    "plain": "the same loop by hand under torchrun",
    "transformers": "transformers.Trainer, the same sizes",
}
HERE = Path(__file__).parent
MODEL = {"layers": 4, "heads": 4, "width": 256, "context": 128}
VOCABULARY = 4096
"""As many characters as tokens, so that a few of them are unknown and no id is left over."""

BATCH, STEPS, SKIP = 8, 36, 4
SEQUENCES = 1000
"""More than are read, so that every character occurs and the vocabulary has its whole size."""
LENGTH = MODEL["context"]
FIRST_CHARACTER = 0x4E00


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained, how it is sharded, and who else does it."""

    family: str
    task: str
    strategy: str = "ddp"
    peers: tuple[str, ...] = tuple(PEERS)

    @property
    def pairs(self) -> bool:
        """Whether its samples have a source and a target."""
        return self.task in {"translation", "joint"}

    @property
    def tokens(self) -> int:
        """That the model reads of a sample."""
        return 2 * LENGTH if self.pairs else LENGTH

    def plan(self) -> dict[str, object]:
        """What a peer has to know."""
        return {
            **asdict(self), "model": MODEL, "vocabulary": VOCABULARY, "batch": BATCH,
            "steps": STEPS, "skip": SKIP, "tokens": self.tokens,
        }  # fmt: skip


CASES = (
    Case("gpt", "language_modeling"),
    Case("gpt", "language_modeling", "fsdp", ("plain",)),
    Case("bert", "masked_language_modeling"),
    Case("transformer", "translation"),
    Case("bert_gpt", "joint", peers=("plain",)),
    Case("bert_gpt", "translation", peers=("transformers",)),
)


def torchrun(folder: Path, *arguments: str) -> None:
    """Run two processes; what they print goes to a file."""
    logs = str(folder / "logs")
    torch.distributed.run.main([
        "--standalone", "--nproc-per-node", "2", "--redirects", "1", "--log-dir", logs, *arguments,
    ])  # fmt: skip


def text(path: Path, lines: int, length: int) -> str:
    """Write lines of random characters; gives the path."""
    draw = random.Random(path.name)
    every = [chr(FIRST_CHARACTER + index) for index in range(VOCABULARY)]
    content = "\n".join("".join(draw.choices(every, k=length)) for _ in range(lines))
    path.write_text(content + "\n", encoding="utf-8")
    return str(path)


def data(case: Case, folder: Path) -> dict[str, object]:
    """Files whose samples fill the model's context."""
    splits = {"": SEQUENCES, "validation_": BATCH}
    if not case.pairs:
        return {
            f"{split}files": [text(folder / f"{split}text.txt", 1, (count + 1) * LENGTH)]
            for split, count in splits.items()
        }
    # An end, and a start where the encoder is a BERT. What a decoder reads has a start or an end.
    source = LENGTH - (2 if case.family == "bert_gpt" else 1)
    found: dict[str, object] = {"format": "parallel"}
    for split, count in splits.items():
        found[f"{split}files"] = [text(folder / f"{split}source.txt", count, source)]
        found[f"{split}target_files"] = [text(folder / f"{split}target.txt", count, LENGTH - 1)]
    return found


def ours(case: Case, folder: Path) -> float:
    """Tokens/s of the loop as a rank of a job runs it, from the metrics that it reports."""
    spec = {
        "name": "bench",
        "model": {"family": case.family, **MODEL, "dropout": 0.0},
        "task": {"kind": case.task},
        "tokenizer": {"kind": "character", "vocab_size": VOCABULARY},
        "data": data(case, folder),
        "resources": {"workers": 2},
        "parallel": {"strategy": case.strategy},
        "train": {
            "steps": STEPS, "batch_size": BATCH, "log_every": SKIP, "eval_every": 0,
            "eval_batches": 1, "warmup_steps": 1,
        },
    }  # fmt: skip
    path, metrics = folder / "spec.yaml", folder / "metrics.jsonl"
    path.write_text(json.dumps(spec))
    torchrun(folder, "-m", "tessera.trainer.rank", "--spec", str(path), "--metrics", str(metrics))
    points = [json.loads(line) for line in metrics.read_text().splitlines()]
    rates = [
        point["tokens_per_second"]
        for point in points
        if "tokens_per_second" in point and point["step"] > SKIP
    ]
    # Windows of equally many tokens: their rate together is the harmonic mean.
    return statistics.harmonic_mean(rates)


def theirs(peer: str, case: Case, folder: Path) -> float:
    """Tokens/s of a peer."""
    plan, found = folder / "plan.json", folder / "found.json"
    plan.write_text(json.dumps(case.plan()))
    script = HERE / "peers" / f"{peer}_training.py"
    torchrun(folder, str(script), "--plan", str(plan), "--out", str(found))
    return float(json.loads(found.read_text())["tokens_per_second"])


def compare(case: Case, peers: list[str], repeat: int) -> None:
    """Let everyone train in turn, and print a line for each peer."""
    runs: dict[str, Callable[[Path], float]] = {"ours": lambda folder: ours(case, folder)}
    for peer in peers:
        runs[peer] = lambda folder, peer=peer: theirs(peer, case, folder)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat):
        # Who goes first changes, so that nobody always meets the quieter machine.
        order = list(runs)[turn % len(runs) :] + list(runs)[: turn % len(runs)]
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                rates[name].append(runs[name](Path(folder)))
            told = f"{case.family} {case.task} {case.strategy}, turn {turn + 1}: {name}"
            print(f"{told} {rates[name][-1]:,.0f} tokens/s", file=sys.stderr, flush=True)
    for peer in peers:
        print(json.dumps(line(case, peer, rates["ours"], rates[peer])), flush=True)


def line(case: Case, peer: str, own: list[float], other: list[float]) -> dict[str, object]:
    """What was found."""
    how = "FSDP2" if case.strategy == "fsdp" else "DDP"
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return {
        "bench": "training",
        "metric": f"{case.family}, {case.task.replace('_', ' ')}, {how}",
        "value": round(statistics.median(own), 1),
        "unit": "tokens/s",
        "baseline": PEERS[peer],
        "baseline_value": round(statistics.median(other), 1),
        "ratio": round(ratio, 3),
    }


def names(text: str) -> list[str]:
    """Of a list with commas."""
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    families = list(dict.fromkeys(case.family for case in CASES))
    parser.add_argument("--families", type=names, default=families)
    parser.add_argument("--peers", type=names, default=list(PEERS))
    parser.add_argument("--repeat", type=int, default=5)
    told = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for case in CASES:
        peers = [peer for peer in case.peers if peer in told.peers]
        if case.family in told.families and peers:
            compare(case, peers, told.repeat)


if __name__ == "__main__":
    main()
