"""Loads a committed version into the ranks, whatever layout it was written in."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tessera import errors
from tessera.device import Device
from tessera.models.config import GPTConfig
from tessera.models.registry import load_config
from tessera.trainer import layout, randomness
from tessera.trainer.failure import UserError
from tessera.trainer.gang import Gang
from tessera.trainer.position import Position
from tessera.weights.box import Box
from tessera.weights.manifest import Manifest
from tessera.weights.pull import Want, pull


def load_tensors(
    manifest: Manifest,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    token: str,
) -> None:
    """Pull this rank's boxes of the model and, if given, of the optimizer's states."""
    wants, parts = [], []
    for item in layout.layout(module, optimizer):
        if item.part is None or not item.box.elements:
            continue
        out = np.empty(item.box.elements * item.spec.element_size, dtype=np.uint8)
        wants.append(Want(group=item.spec.group, name=item.spec.name, box=item.box, out=out))
        parts.append((item.part, out))
    pull(manifest, wants, token)
    for part, out in parts:
        layout.fill(part, out)


def load_state(manifest: Manifest, gang: Gang, device: Device, token: str) -> Position:
    """Pull the position of the run and put this rank's random generators back.

    With another number of ranks their states mean nothing and stay as they are seeded.
    """
    known = manifest.group(layout.STATE)
    facts = _pull_state(manifest, ["trainer"], token)["trainer"]
    position = Position.from_json(facts.tobytes())
    if position.world_size == gang.world_size:
        prefix = f"rank-{gang.rank}/"
        names = [name for name in known if name.startswith(prefix)]
        states = _pull_state(manifest, names, token)
        randomness.restore({n.removeprefix(prefix): s for n, s in states.items()}, device)
    return position


def check_warm_start(config: GPTConfig, manifest: Manifest) -> None:
    """Raise UserError INIT_MISMATCH if the sizes are not those of the version to start from."""
    theirs = config_of(manifest)
    for name in (
        "family",
        "layers",
        "heads",
        "width",
        "ff_width",
        "context",
        "vocab_size",
        "tie_embeddings",
    ):
        wanted, found = getattr(config, name), getattr(theirs, name)
        if wanted != found:
            field = "tokenizer" if name == "vocab_size" else f"model.{name}"
            version = f"{manifest.version.set}@{manifest.version.number}"
            description = (
                f"{wanted} does not fit {version}, whose {name} is {found}; leave the field out "
                "to take what the version has"
            )
            raise UserError(
                f"{field}: {description}",
                reason="INIT_MISMATCH",
                violations=[errors.Violation(field, description)],
            )


def config_of(manifest: Manifest) -> GPTConfig:
    """The model config that a version carries."""
    return load_config(manifest.assets["config.json"])


def _pull_state(manifest: Manifest, names: list[str], token: str) -> dict[str, randomness.Bytes]:
    known = manifest.group(layout.STATE)
    outs = {name: np.empty(known[name].size, dtype=np.uint8) for name in names}
    wants = [
        Want(group=layout.STATE, name=name, box=Box.whole(known[name].shape), out=out)
        for name, out in outs.items()
    ]
    pull(manifest, wants, token)
    return outs
