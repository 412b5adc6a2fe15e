"""Versions with tensors of many shapes, read as one likes, and what of this process is open."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from tessera.weights.pull import Want, pull

SHAPES = {"wide": (40, 6, 9000), "tall": (90_000, 7), "one": (300_000,), "scalar": ()}


def arrays():
    dice = np.random.default_rng(7)
    return {name: dice.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def fetch(manifest, token, boxes):
    """Boxes of tensors, each (name, view, box), as bytes."""
    wants = [
        Want(group="model", name=name, box=box, out=np.zeros(4 * box.elements, np.uint8), view=view)
        for name, view, box in boxes
    ]
    pull(manifest, wants, token, patience=5)
    return [want.out.tobytes() for want in wants]


def all_of(manifest, token):
    boxes = [(t.name, None, t.box) for t in manifest.tensors]
    return dict(zip([name for name, _, _ in boxes], fetch(manifest, token, boxes), strict=True))


def same(found, content):
    assert found == {name: array.tobytes() for name, array in content.items()}


def opened() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))
