"""Goes on from a committed version of the same job, whatever layout it was written in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from tessera.device import Device
from tessera.rpc.token import Token
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.versions import layout, randomness
from tessera.weights.box import Box
from tessera.weights.manifest import Manifest, TensorSpec
from tessera.weights.pull import Want, pull


def load_tensors(
    manifest: Manifest,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    token: Token,
) -> None:
    """Pull this rank's boxes of the model and, if given, of the optimizer's states."""
    wanted = [(item, item.spec) for item in layout.layout(module, optimizer)]
    fill(manifest, wanted, token)


def fill(
    manifest: Manifest, wanted: Sequence[tuple[layout.LocalTensor, TensorSpec]], token: Token
) -> None:
    """Pull this rank's boxes of tensors, each from the tensor of the version beside it."""
    wants, parts = [], []
    for item, theirs in wanted:
        if item.part is None or not item.box.elements:
            continue
        out = np.empty(item.box.elements * theirs.element_size, dtype=np.uint8)
        wants.append(Want(group=theirs.group, name=theirs.name, box=item.box, out=out))
        parts.append((item.part, out, theirs.dtype))
    pull(manifest, wants, token)
    for part, out, dtype in parts:
        layout.fill(part, out, dtype)


def load_state(manifest: Manifest, ranks: Ranks, device: Device, token: Token) -> Position:
    """Pull the position of the run and put this rank's random generators back.

    With another number of ranks their states mean nothing and stay as they are seeded.
    """
    known = manifest.group(layout.STATE)
    facts = _pull_state(manifest, ["trainer"], token)["trainer"]
    position = Position.from_json(facts.tobytes())
    if position.world_size == ranks.world_size:
        prefix = f"rank-{ranks.rank}/"
        names = [name for name in known if name.startswith(prefix)]
        states = _pull_state(manifest, names, token)
        randomness.restore({n.removeprefix(prefix): s for n, s in states.items()}, device)
    return position


def _pull_state(manifest: Manifest, names: list[str], token: Token) -> dict[str, randomness.Bytes]:
    known = manifest.group(layout.STATE)
    outs = {name: np.empty(known[name].size, dtype=np.uint8) for name in names}
    wants = [
        Want(group=layout.STATE, name=name, box=Box.whole(known[name].shape), out=out)
        for name, out in outs.items()
    ]
    pull(manifest, wants, token)
    return outs
