"""A family whose head has buffers of odd element types, which change in training.

No two ranks would make the same of them, and what the head says depends on every one that is kept.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from tessera.models import registry, tasks
from tessera.models.family import Family
from tessera.models.head import Head, Per
from tessera.models.sizes import BERT_ENCODER, sizes
from tessera.models.states import States
from tessera.text.special import SEQ2SEQ

NAME, TASK = "toy_buffered", "toy_counting"
KEPT = {
    "norm.running_mean": "F32",
    "norm.running_var": "F32",
    "norm.num_batches_tracked": "I64",
    "seen": "BOOL",
    "total": "F64",
    "brief": "BF16",
    "phase": "C64",
    "small": "F8_E4M3",
    "tiny": "F8_E5M2",
    "wide": "I16",
    "empty": "I32",
}
"""Element types of the buffers that are kept, by their names in the head."""

NAMES = {f"heads.classes.{name}": dtype for name, dtype in KEPT.items()}
"""The same, by their names in a model."""


class Counting(nn.Module):
    """Logits of a text, of a norm with running statistics and of counts of all kinds."""

    def __init__(self, config, _trunk):
        super().__init__()
        width = config.width
        self.norm = nn.BatchNorm1d(width)
        self.projection = nn.Linear(width, tasks.outputs(config.task))
        self.register_buffer("seen", torch.zeros(7, dtype=torch.bool))
        self.register_buffer("total", torch.zeros(3, 2, dtype=torch.float64))
        self.register_buffer("brief", torch.zeros(width, dtype=torch.bfloat16))
        self.register_buffer("phase", torch.ones(4, dtype=torch.complex64))
        self.register_buffer("small", torch.zeros(5).to(torch.float8_e4m3fn))
        self.register_buffer("tiny", torch.zeros(()).to(torch.float8_e5m2))
        # Large enough to be sent by itself; not in the order of its bytes, until it is loaded.
        self.register_buffer("wide", torch.zeros(1000, 600, dtype=torch.int16).t())
        self.register_buffer("empty", torch.zeros(0, 3, dtype=torch.int32))
        # Of another name, and of no file: torch keeps neither apart.
        self.register_buffer("twin", self.total)
        self.register_buffer("scale", torch.full((width,), 0.5), persistent=False)

    def forward(self, hidden, _mask):
        pooled = self.norm(hidden.mean(dim=1))
        if self.training:
            self._count(pooled.detach())
        said = self.brief.float() * self.scale + self.small.float().sum() + self.tiny.float()
        said = said + self.wide[3, 5].float() / 1000
        said = said + self.phase.real.sum() + self.twin.float().sum() / 100 + self.seen.sum()
        return self.projection(pooled + 0.01 * said)

    def _count(self, pooled):
        mean = pooled.abs().mean() * (1 + int(self.norm.num_batches_tracked) % 5)
        self.seen[int(mean * 1e6) % 7] = True
        self.total += mean.double() / 3
        self.brief.mul_(0.9).add_(pooled.mean(dim=0).to(torch.bfloat16))
        self.wide += (mean * 1000).to(torch.int16)
        # Another tensor at every step; a view that says that it is conjugate.
        self.phase = (self.phase * torch.polar(torch.ones(4), mean * torch.arange(1.0, 5))).conj()
        self.small.data = (self.small.float() * 0.5 + mean).to(torch.float8_e4m3fn)
        self.tiny.copy_((self.tiny.float() * 0.7 + mean).to(torch.float8_e5m2))


def look(trunk, inputs):
    """As an encoder reads."""
    return States(read=trunk.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index))


FAMILY = Family(
    name=NAME,
    run=look,
    offers=frozenset({tasks.READS}),
    default_task=TASK,
    special=SEQ2SEQ,
    encoder=BERT_ENCODER,
    presets={"toy": sizes(1, 32, 2, 32)},
)
HEAD = Head(
    name="classes",
    module=f"{__name__}:Counting",
    per=Per.TEXT,
    output="logits",
    weights=lambda config, rows: (config.width + 1) * rows + 2 * config.width,
    labelled=True,
)


def register() -> None:
    """Make both known."""
    registry.register(FAMILY)
    kind = tasks.TASKS[tasks.CLASSIFICATION]
    tasks.register(replace(kind, name=TASK, heads=(HEAD,), fields=("labels",)))


def forget() -> None:
    """Leave no trace."""
    del registry.FAMILIES[NAME], tasks.TASKS[TASK]
