"""The held-out loss, over the same sequences every time and however many ranks there are."""

from __future__ import annotations

import numpy as np
import torch

from tessera.device import Device
from tessera.trainer.batch import Dataset, Objective, TokenBatch
from tessera.trainer.gang import Gang
from tessera.trainer.parallel import Parallel


def held_out_loss(
    parallel: Parallel,
    objective: Objective,
    dataset: Dataset,
    *,
    sequences: int,
    rows: int,
    gang: Gang,
    device: Device,
    bf16: bool,
) -> float:
    """Mean loss in nats per target.

    Args:
        parallel: the model.
        objective: sums its losses.
        dataset: gives the sequences.
        sequences: held-out sequences at most; 0: all.
        rows: sequences that a rank takes at once.
        gang: the ranks.
        device: of this rank.
        bf16: whether to compute in bfloat16.
    """
    keys = np.asarray(dataset.held_out(sequences))
    mine = keys[gang.rank :: gang.world_size]
    most = -(-len(keys) // gang.world_size)
    total, targets = 0.0, 0
    parallel.model.eval()
    with torch.no_grad():
        # Every rank makes the same number of passes: each of them is a collective.
        for at in range(0, most, rows):
            part = mine[at : at + rows]
            batch = TokenBatch(tokens=dataset.rows("held_out", part if len(part) else keys[:1]))
            with device.autocast(bf16=bf16):
                loss = float(objective(parallel.model, batch.to(device.torch)))
            if len(part):
                total, targets = total + loss, targets + batch.count
    parallel.reshard()
    parallel.model.train()
    losses, counted = gang.sum(total, targets)
    return losses / max(1.0, counted)
