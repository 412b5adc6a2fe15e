"""A writer or a reader in a process of its own, to be killed.

    python chaos_process.py write CONTROLLER SET ATTEMPT     prints `NUMBER STEP` of each commit
    python chaos_process.py read CONTROLLER SET              prints the number of each version read

The token comes on standard input. Both go on until they are killed; what must never be ends a
reader with a line that begins with FAIL.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from tessera import errors
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push import push
from tessera.weights.push_digest import sum_of

PATIENCE = 60.0
RANKS = 2
TENSORS = (
    TensorSpec(group="model", name="base", shape=(512, 256), dtype="F32"),
    TensorSpec(group="model", name="adapter", shape=(256, 256), dtype="F32"),
    TensorSpec(group="optimizer", name="exp_avg/adapter", shape=(256, 256), dtype="F32"),
)
SAME = "base"
"""What every version has in common."""


def content(tensor: TensorSpec, step: int) -> np.ndarray:
    """The bytes of a tensor of the version of a step."""
    seed = 0 if tensor.name == SAME else step
    return np.random.default_rng([seed, len(tensor.name)]).integers(0, 256, tensor.size, np.uint8)


def told(*values: object) -> None:
    """A line for whoever started this."""
    sys.stdout.write(" ".join(map(str, values)) + "\n")
    sys.stdout.flush()


def slices(step: int, rank: int) -> list[LocalSlice]:
    """A rank's half of every tensor."""
    found = []
    for index, tensor in enumerate(TENSORS):
        rows, columns = tensor.shape
        low, high = rows * rank // RANKS, rows * (rank + 1) // RANKS
        data = content(tensor, step)[low * columns * 4 : high * columns * 4]
        box = Box((low, 0), (high - low, columns))
        found.append(LocalSlice(tensor=index, group=tensor.group, box=box, data=data))
    return found


def write(controller: str, token: str, name: str, attempt: int) -> None:
    """Commit one version after another, as a trainer does."""
    client = Coordinator(controller, token, patience=PATIENCE)
    grant = client.acquire_writer(name, "chaos", attempt, keep=5)
    step = grant.resume.step if grant.resume else 0
    before = {}
    while True:
        step += 1
        version, before = commit(client, token, (name, grant.epoch), step, before)
        told(version.number, step)


def commit(client, token, writer, step, before):
    """One version, begun again where that may help."""
    while True:
        try:
            opened = client.open_version(*writer, step, TENSORS, {}, {})
            reports = {
                rank: push(
                    opened, rank, slices(step, rank), token,
                    patience=PATIENCE, before=before.get(rank),
                )
                for rank in range(RANKS)
            }  # fmt: skip
            digest = sum_of(report.digest for report in reports.values())
            client.seal_version(opened, digest)
            return client.commit_version(opened), reports
        except errors.TesseraError as error:
            if error.reason not in MAY_HAPPEN and not errors.is_transient(error):
                raise
            time.sleep(0.2)


MAY_HAPPEN = {
    "INCOMPLETE", "VERSION_ABORTED", "VERSION_CLOSED", "VERSION_NOT_FOUND", "GRANT_INVALID",
}  # fmt: skip
"""What a killed shard or a lost coordinator makes of a version that is being written."""


GONE = {"PIECE_NOT_FOUND", "VERSION_DROPPED"}
"""Pins go with a coordinator's folder, and then a full disk may take what somebody reads."""


def read(controller: str, token: str, name: str) -> None:
    """Read the newest version again and again, all of it."""
    client, last = Coordinator(controller, token, patience=PATIENCE), 0
    while True:
        try:
            with client.reading(name, 0, (), "chaos") as manifest:
                version = manifest.version
                parts = [(tensor, np.zeros(tensor.size, np.uint8)) for tensor in manifest.tensors]
                wants = [Want(group=t.group, name=t.name, box=t.box, out=out) for t, out in parts]
                pull(manifest, wants, token, patience=PATIENCE)
        except errors.TesseraError as error:
            if error.reason not in GONE and not errors.is_transient(error):
                told("FAIL", error.reason, error.message)
            time.sleep(0.1)
            continue
        wrong = [t.name for t, out in parts if out.tobytes() != content(t, version.step).tobytes()]
        if wrong or version.number < last:
            told("FAIL", version.number, "after", last, *wrong)
        last = version.number
        told(version.number)


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    kind, controller, name, *rest = sys.argv[1:]
    token = sys.stdin.readline().strip()
    if kind == "write":
        write(controller, token, name, int(rest[0]))
    else:
        read(controller, token, name)


if __name__ == "__main__":
    main()
