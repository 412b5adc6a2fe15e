"""Planning of reads and checking of coverage, in seconds of this process's own CPU against a limit.

A model of 175 billion parameters and AdamW's two states, which 512 ranks hold by rows (FSDP) and
eight read by rows and columns (TP), is 1.5 million slices and some seven million blocks. Medians of
three; the ratio is that to the goal: at most 1 is within it. One JSON object per line.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from tessera.weights import layout
from tessera.weights.box import Box
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import Manifest, SliceSpec, TensorSpec, Version, VersionState
from tessera.weights.plan import Wanted, plan
from tessera.weights.slice_table import SliceTable
from tessera.weights.transfer_table import TransferTable
from tessera.weights.weighted_cache import WeightedCache

WIDTH, LAYERS, VOCABULARY, POSITIONS = 12288, 96, 50257, 2048
GROUPS = ("model", "exp_avg", "exp_avg_sq")
WRITERS, READERS = 512, 8
ROUNDS = 3
VERSION = Version(
    set="default/b", number=1, state=VersionState.COMMITTED, epoch=1, job="b", attempt=1, step=1
)


def shapes(layers: int) -> dict[str, tuple[tuple[int, ...], int | None]]:
    """Shape of every tensor, and the axis that tensor parallelism cuts it on; None: none."""
    block: dict[str, tuple[tuple[int, ...], int | None]] = {
        "qkv.weight": ((3 * WIDTH, WIDTH), 0),
        "qkv.bias": ((3 * WIDTH,), 0),
        "out.weight": ((WIDTH, WIDTH), 1),
        "up.weight": ((4 * WIDTH, WIDTH), 0),
        "up.bias": ((4 * WIDTH,), 0),
        "down.weight": ((WIDTH, 4 * WIDTH), 1),
    }
    for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
        block[name] = ((WIDTH,), None)
    found = {f"{layer}.{name}": kind for layer in range(layers) for name, kind in block.items()}
    return {"embed": ((VOCABULARY, WIDTH), 0), **found}


def cut(shape: Sequence[int], axis: int, parts: int) -> Iterator[Box]:
    """Boxes as FSDP cuts them: the last ones smaller, or empty, which nobody pushes."""
    step = -(-shape[axis] // parts)
    for start in range(0, shape[axis], step):
        offsets, extents = [0] * len(shape), list(shape)
        offsets[axis], extents[axis] = start, min(step, shape[axis] - start)
        yield Box(tuple(offsets), tuple(extents))


def manifest(tensors: Sequence[TensorSpec], boxes: Iterator[tuple[int, Box]]) -> Manifest:
    """A version whose slices lie on eight shards."""
    slices = [
        SliceSpec(
            tensor=tensor,
            box=box,
            shard=f"shard-{number % 8}",
            piece="0-model",
            offset=number,
            size=box.elements * tensors[tensor].element_size,
            checksum=0,
        )
        for number, (tensor, box) in enumerate(boxes)
    ]
    # By columns, as they come from the coordinator.
    table = SliceTable.of(slices)
    return Manifest(version=VERSION, tensors=tuple(tensors), slices=table, assets={})


def large(axis: int, layers: int) -> Manifest:
    """The large model, every tensor cut on one axis, vectors on their only one."""
    tensors = [
        TensorSpec(group=group, name=name, shape=shape, dtype="F32")
        for group in GROUPS
        for name, (shape, _) in shapes(layers).items()
    ]
    # As ranks push them: all slices of one, then those of the next.
    boxes = [
        list(cut(tensor.shape, min(axis, len(tensor.shape) - 1), WRITERS)) for tensor in tensors
    ]
    ranked = (
        (number, parts[rank])
        for rank in range(WRITERS)
        for number, parts in enumerate(boxes)
        if rank < len(parts)
    )
    return manifest(tensors, ranked)


def wants(version: Manifest, reader: int, layers: int) -> list[Wanted]:
    """What one of eight readers takes of every tensor."""
    axes = [axis for _ in GROUPS for _, axis in shapes(layers).values()]
    return [
        Wanted(
            number, tensor.box if axis is None else list(cut(tensor.shape, axis, READERS))[reader]
        )
        for number, (tensor, axis) in enumerate(zip(version.tensors, axes, strict=True))
    ]


def measured(version: Manifest, action: Callable[[], object], *, planned: bool = False) -> float:
    """Seconds of CPU of an action, the median of several.

    Args:
        version: of which nothing is known beforehand.
        action: on it.
        planned: whether a version of that layout was read before.
    """
    seconds = []
    for _ in range(ROUNDS):
        version.__dict__.pop("slice_index", None)
        if not planned:
            layout._LAYOUTS = WeightedCache(1 << 18)  # noqa: SLF001 - as in a new process
            layout._COVERS = WeightedCache(1 << 18)  # noqa: SLF001
        gc.collect()
        begin = time.process_time()
        action()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def report(metric: str, value: float, unit: str, goal: float = 0.0) -> None:
    """One line."""
    line: dict[str, object] = {"bench": "plan", "metric": metric, "value": round(value, 4)}
    line["unit"] = unit
    if goal:
        line |= {
            "baseline": "the goal",
            "baseline_value": round(goal, 4),
            "ratio": round(value / goal, 3),
        }
    print(json.dumps(line), flush=True)


def one_tensor() -> None:
    """A tensor in 1,024 slices, read whole and checked."""
    tensor = TensorSpec(group="model", name="w", shape=(8192, 8192), dtype="F32")
    want = [Wanted(0, tensor.box)]
    for axis in (0, 1):
        version = manifest([tensor], ((0, box) for box in cut(tensor.shape, axis, 1024)))
        seconds = measured(version, lambda: len(list(plan(version, want))))  # noqa: B023
        report(f"1,024 slices cut on axis {axis}: plan", seconds * 1e3, "ms of CPU", 20.0)
        seconds = measured(version, lambda: check_coverage([tensor], version.slices))  # noqa: B023
        report(f"1,024 slices cut on axis {axis}: coverage", seconds * 1e3, "ms of CPU", 20.0)


def small_tensors() -> None:
    """5,000 tensors of 4 KiB: of one shape, and of a different one each."""
    for what, step in (("alike", 0), ("all different", 1)):
        tensors = [
            TensorSpec(group="model", name=f"t{i}", shape=(32 + i * step, 32), dtype="F32")
            for i in range(5000)
        ]
        version = manifest(tensors, ((i, tensor.box) for i, tensor in enumerate(tensors)))

        def read(version: Manifest = version) -> None:
            found = [Wanted(version.index(t.group, t.name), t.box) for t in version.tensors]
            if len(list(plan(version, found))) != len(version.tensors):
                raise SystemExit("a tensor of one slice is one block")

        seconds = measured(version, read)
        report(f"5,000 small tensors, {what}: plan", seconds * 1e3, "ms of CPU", 1000.0)


def large_model(layers: int) -> None:
    """All eight readers of the large model, and the coverage of it cut on either axis."""
    version = large(0, layers)
    asked = [wants(version, reader, layers) for reader in range(READERS)]

    def read() -> list[TransferTable]:
        return [plan(version, found) for found in asked]

    seconds = measured(version, read)
    plans = read()
    name = "FSDP-512 to TP-8"
    report(f"{name}: slices", len(version.slices), "slices")
    report(f"{name}: blocks", sum(map(len, plans)), "blocks")
    report(f"{name}: plans of all eight readers", seconds, "s of CPU", 3.0)
    seconds = measured(version, read, planned=True)
    report(f"{name}: the same of the next version", seconds, "s of CPU", 3.0)
    begin = time.process_time()
    size = sum(transfer.size for transfer in plans[0])
    seconds = time.process_time() - begin
    report(f"{name}: one reader goes through its blocks", seconds, "s of CPU")
    needed = sum(w.box.elements * version.tensors[w.tensor].element_size for w in asked[0])
    report(f"{name}: bytes that one reader moves", size / 2**30, "GiB", needed / 2**30)
    for axis in (0, 1):
        found = large(axis, layers) if axis else version
        seconds = measured(found, lambda: check_coverage(found.tensors, found.slices))  # noqa: B023
        report(f"coverage of it, cut on axis {axis}", seconds, "s of CPU", 8.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--layers", type=int, default=LAYERS, help="of the large model; the goals are for 96"
    )
    options = parser.parse_args()
    one_tensor()
    small_tensors()
    large_model(options.layers)


if __name__ == "__main__":
    main()
