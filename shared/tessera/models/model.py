"""A trunk and its heads: what is trained, committed and served."""

from __future__ import annotations

from torch import Tensor, nn

from tessera.models import heads
from tessera.models.bert import BERT
from tessera.models.bert_gpt import BERTGPT
from tessera.models.config import ModelConfig
from tessera.models.gpt import GPT
from tessera.models.initial import initialize
from tessera.models.inputs import Inputs, Outputs
from tessera.models.lora import add_adapters
from tessera.models.transformer import Transformer
from tessera.models.trunk import States, Trunk

TRUNKS: dict[str, type[Trunk]] = {
    "transformer": Transformer,
    "bert": BERT,
    "gpt": GPT,
    "bert_gpt": BERTGPT,
}


class Model(nn.Module):
    """A model of any family for any of its tasks.

    Args:
        config: sizes, choices and task.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = TRUNKS[config.family](config)
        self.heads = nn.ModuleDict({name: self._head(name) for name in config.task.heads})
        initialize(self, self.trunk.stacks)
        if config.lora is not None:
            add_adapters(self, config.lora)

    def forward(self, inputs: Inputs) -> Outputs:
        """What the heads say of a batch."""
        states = self.trunk(inputs)
        return Outputs(
            logits=self._logits(states, inputs),
            masked=self._masked(states, inputs),
            vectors=self._vectors(states, inputs),
        )

    def _logits(self, states: States, inputs: Inputs) -> Tensor | None:
        name = self.config.task.heads[-1]
        if name == "language":
            return None if states.decoder is None else self._at(name, states.decoder, inputs.at)
        if name == "classes":
            return self.heads[name](states.fused, inputs.mask)  # type: ignore[no-any-return]
        if name in {"tokens", "span"}:
            return self.heads[name](states.fused)  # type: ignore[no-any-return]
        return None

    def _masked(self, states: States, inputs: Inputs) -> Tensor | None:
        if "masked" not in self.heads:
            return None
        own = states.encoder if self.config.task.translates else states.fused
        assert own is not None
        return self._at("masked", own, inputs.masked_at)

    def _vectors(self, states: States, inputs: Inputs) -> Tensor | None:
        if "vectors" not in self.heads:
            return None
        return self.heads["vectors"](states.fused, inputs.mask)  # type: ignore[no-any-return]

    def _at(self, name: str, hidden: Tensor, places: Tensor | None) -> Tensor:
        """Logits where they are wanted: a vocabulary is wide, and most places are not asked for."""
        chosen = hidden if places is None else hidden.flatten(0, 1)[places]
        return self.heads[name](chosen)  # type: ignore[no-any-return]

    def _head(self, name: str) -> nn.Module:
        config, task, trunk = self.config, self.config.task, self.trunk
        writer = trunk.decoder if trunk.decoder is not None else trunk.encoder
        reader = trunk.encoder if trunk.encoder is not None else trunk.decoder
        assert writer is not None
        assert reader is not None
        tied, dropout = config.tie_embeddings, reader.config.dropout
        if name == "language":
            return heads.LanguageHead(
                config.width,
                writer.embeddings.tokens,
                config.target_vocab_size,
                tied=tied,
                bias=config.head_bias,
            )
        if name == "masked":
            activation = reader.config.activation
            return heads.MaskedHead(
                config.width,
                reader.embeddings.tokens,
                "silu" if activation == "swiglu" else activation,
                reader.config.norm_epsilon,
                tied=tied,
            )
        if name == "classes":
            return heads.ClassHead(
                config.width,
                task.outputs,
                pooling=task.pooling,
                pooler=task.pooler,
                bias=task.bias,
                dropout=dropout,
            )
        if name == "vectors":
            return heads.VectorHead(pooling=task.pooling, normalize=task.normalize)
        return heads.TokenHead(config.width, task.outputs, dropout=dropout)
