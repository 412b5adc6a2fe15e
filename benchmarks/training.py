"""Training through Tessera's loop against the same training written by hand under torchrun.

Same model, batch, world size (2 processes, FSDP2), interleaved pairs; the first steps of each run
are left out. One JSON object per line:

    python benchmarks/training.py [--repeat 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MODEL = {"layers": 4, "heads": 4, "width": 256, "context": 128}
VOCABULARY, BATCH, STEPS, SKIP = 512, 8, 36, 6


def torchrun(*arguments: str) -> str:
    """Run two processes and return what they printed."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def ours(folder: Path) -> float:
    """Tokens/s of the loop as a rank of a job runs it, from the metrics that it reports."""
    spec = {
        "name": "bench",
        "model": {"family": "gpt", **MODEL},
        "tokenizer": {"vocab_size": VOCABULARY},
        "data": {"files": ["stdlib://[a-c]*.py"], "max_bytes": 400_000},
        "resources": {"workers": 2},
        "train": {
            "steps": STEPS, "batch_size": BATCH, "log_every": SKIP, "eval_every": 0,
            "eval_batches": 1,
        },
    }  # fmt: skip
    path, metrics = folder / "spec.yaml", folder / "metrics.jsonl"
    path.write_text(json.dumps(spec))
    torchrun("-m", "tessera.trainer.rank", "--spec", str(path), "--metrics", str(metrics))
    points = [json.loads(line) for line in metrics.read_text().splitlines()]
    rates = [
        point["tokens_per_second"]
        for point in points
        if "tokens_per_second" in point and point["step"] > SKIP
    ]
    # Windows of equally many tokens: their rate together is the harmonic mean.
    return statistics.harmonic_mean(rates)


def theirs() -> float:
    """Tokens/s of the loop written by hand."""
    model = json.dumps({**MODEL, "vocab_size": VOCABULARY})
    output = torchrun(
        str(HERE / "peers" / "plain_training.py"), "--model", model, "--batch", str(BATCH),
        "--steps", str(STEPS), "--skip", str(SKIP),
    )  # fmt: skip
    return float(json.loads(output.splitlines()[-1])["tokens_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    own: list[float] = []
    other: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeat):
            # Who goes first changes, so that neither always meets the quieter machine.
            for mine in (True, False) if turn % 2 else (False, True):
                if mine:
                    own.append(ours(Path(folder)))
                else:
                    other.append(theirs())
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    print(
        json.dumps({
            "bench": "training",
            "metric": "throughput",
            "value": round(statistics.median(own), 1),
            "unit": "tokens/s",
            "baseline": "the same loop by hand under torchrun",
            "baseline_value": round(statistics.median(other), 1),
            "ratio": round(ratio, 3),
        }),
        flush=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
