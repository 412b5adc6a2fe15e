"""One layer of a Transformer, classic or modern."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tessera.models.attention import Attend, AttendMemory, Attention, CrossAttention
from tessera.models.config import StackConfig
from tessera.models.positions import Rotate


def make_norm(config: StackConfig) -> nn.Module:
    """The norm of a stack."""
    if config.norm == "rms":
        return nn.RMSNorm(config.width, eps=config.norm_epsilon)
    return nn.LayerNorm(config.width, eps=config.norm_epsilon)


def activate(name: str, x: Tensor) -> Tensor:
    """The activation function of that name, elementwise."""
    if name == "gelu":
        return functional.gelu(x)
    if name == "gelu_tanh":
        return functional.gelu(x, approximate="tanh")
    return functional.relu(x) if name == "relu" else functional.silu(x)


class MLP(nn.Module):
    """Two linear layers with an activation between them, gated for SwiGLU (Shazeer, 2020)."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.width, config.ff_width, bias=config.bias)
        if config.activation == "swiglu":
            self.gate = nn.Linear(config.width, config.ff_width, bias=config.bias)
        self.down = nn.Linear(config.ff_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[*, width] to the same."""
        if self.activation == "swiglu":
            return self.down(functional.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
        return self.down(activate(self.activation, self.up(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Self-attention, in decoders beside an encoder attention to that, then the MLP.

    Each part has its norm, before it or after it is added to the residual stream.
    """

    def __init__(self, config: StackConfig, layer: int, *, cross: bool) -> None:
        super().__init__()
        self.layer = layer
        self.pre = config.norm_order == "pre"
        self.attention = Attention(config)
        self.attention_norm = make_norm(config)
        self.cross: CrossAttention | None = None
        if cross:
            self.cross = CrossAttention(config)
            self.cross_norm = make_norm(config)
        self.mlp = MLP(config)
        self.mlp_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        attend: Attend,
        rotate: Rotate | None = None,
        memory: Tensor | None = None,
        attend_memory: AttendMemory | None = None,
    ) -> Tensor:
        """[*, width] to the same.

        Args:
            x: the residual stream.
            attend: mixes values of the same sequence.
            rotate: turns queries and keys by their positions.
            memory: states of an encoder; None: `attend_memory` keeps what is needed of them.
            attend_memory: mixes values of the encoder's sequence.
        """
        part = self.attention(self.attention_norm(x) if self.pre else x, self.layer, attend, rotate)
        x = self._add(x, part, self.attention_norm)
        if self.cross is not None and attend_memory is not None:
            part = self.cross(
                self.cross_norm(x) if self.pre else x, self.layer, attend_memory, memory
            )
            x = self._add(x, part, self.cross_norm)
        return self._add(x, self.mlp(self.mlp_norm(x) if self.pre else x), self.mlp_norm)

    def _add(self, x: Tensor, part: Tensor, norm: nn.Module) -> Tensor:
        x = x + self.dropout(part)
        return x if self.pre else norm(x)
