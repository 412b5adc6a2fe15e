"""Sizes and choices of models. Needs neither torch nor numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tessera import errors
from tessera.models.lora_config import LoRAConfig
from tessera.models.task import TaskConfig
from tessera.text.special import ROLES

NORMS = ("layer", "rms")
NORM_ORDERS = ("pre", "post")
POSITIONS = ("learned", "sinusoidal", "rotary")
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu", "swiglu")

_CHOICES = {
    "norm": NORMS,
    "norm_order": NORM_ORDERS,
    "positions": POSITIONS,
    "activation": ACTIVATIONS,
}
_SIZES = ("layers", "heads", "kv_heads", "width", "ff_width", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """One stack of Transformer blocks with its embeddings: an encoder or a decoder.

    Args:
        layers: number of blocks.
        heads: attention heads; they divide the width.
        kv_heads: heads of keys and values, which divide the heads (Ainslie et al., 2023); 0: as
            many as heads.
        width: of the residual stream.
        ff_width: hidden width of the MLP; 0: 4 * width.
        context: longest sequence, in tokens.
        dropout: probability, on embeddings and on what enters the residual stream.
        attention_dropout: probability, on attention weights.
        norm: `layer` or `rms`.
        norm_order: `pre`: a norm before each part and one after the last block; `post`: a norm
            after each sum (Vaswani et al., 2017).
        norm_epsilon: in the norm's denominator.
        positions: `learned`, `sinusoidal` or `rotary`.
        position_offset: rows of a learned table before that of position 0.
        rotary_base: slowest wavelength over 2 pi, of rotary positions.
        activation: `gelu`, `gelu_tanh`, `relu`, `silu`, or `swiglu` with its gate.
        bias: whether linear layers add one.
        embedding_norm: whether the sum of embeddings is normed.
        embedding_scale: whether token embeddings are multiplied by sqrt(width).
        segments: kinds of segments that tokens are told apart by; 0: none.

    Raises:
        InvalidArgumentError: a size is not positive, heads do not divide, or a choice is unknown.
    """

    layers: int = 4
    heads: int = 4
    kv_heads: int = 0
    width: int = 256
    ff_width: int = 0
    context: int = 256
    dropout: float = 0.0
    attention_dropout: float = 0.0
    norm: str = "layer"
    norm_order: str = "pre"
    norm_epsilon: float = 1e-5
    positions: str = "learned"
    position_offset: int = 0
    rotary_base: float = 10000.0
    activation: str = "gelu_tanh"
    bias: bool = True
    embedding_norm: bool = False
    embedding_scale: bool = False
    segments: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ff_width", self.ff_width or 4 * self.width)
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise _wrong(name, "must be at least 1", "INVALID_FIELD")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                found = getattr(self, name)
                raise _wrong(name, f"`{found}` is none of {', '.join(known)}", "UNKNOWN_CHOICE")
        if self.width % self.heads:
            raise _wrong(
                "heads",
                f"{self.heads} heads do not divide a width of {self.width}",
                "HEADS_DO_NOT_DIVIDE_WIDTH",
            )
        if self.heads % self.kv_heads:
            raise _wrong(
                "kv_heads",
                f"{self.kv_heads} do not divide {self.heads} heads",
                "KV_HEADS_DO_NOT_DIVIDE_HEADS",
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise _wrong(
                "positions",
                f"rotary positions need heads of an even width, not of {self.head_dim}",
                "ROTARY_HEAD_ODD",
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def final_norm(self) -> bool:
        """Whether a norm follows the last block."""
        return self.norm_order == "pre"

    def parameters(self, *, cross: bool, tokens: int) -> int:
        """Number of weights.

        Args:
            cross: whether its blocks attend to an encoder too.
            tokens: rows of its own token embedding; 0: it borrows one.
        """
        width, bias = self.width, int(self.bias)
        norm = width * (2 if self.norm == "layer" else 1)
        keys = self.kv_heads * self.head_dim
        attention = 2 * (width + bias) * width + 2 * (width + bias) * keys
        gates = 2 if self.activation == "swiglu" else 1
        mlp = gates * (width + bias) * self.ff_width + (self.ff_width + bias) * width
        attentions = 2 if cross else 1
        block = attentions * attention + mlp + (attentions + 1) * norm
        table = self.context + self.position_offset if self.positions == "learned" else 0
        norms = norm * (int(self.embedding_norm) + int(self.final_norm))
        return (tokens + table + self.segments) * width + self.layers * block + norms

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The stack that `asdict` made a dictionary of; unknown keys are ignored."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model whole: its stacks, how they share, and what its heads do.

    Args:
        family: name of the family; it decides which stacks there are.
        vocab_size: rows of the token embedding.
        decoder_vocab_size: rows of the decoder's own; 0: the same vocabulary.
        encoder: the bidirectional stack, where there is one.
        decoder: the causal stack, where there is one; beside an encoder it attends to that too.
        tie_embeddings: whether the output projections are the token embeddings.
        share_embeddings: whether encoder and decoder have one token embedding.
        head_bias: whether the projection to next-token logits has a bias.
        task: what the heads do.
        lora: low-rank adapters beside the linear layers, where there are any.
        start_id: token that a decoder beside an encoder begins with, and that an encoder's
            sequence begins with; -1: none.
        end_id: token that ends a text; -1: none.
        pad_id: token that fills up; -1: none.
        mask_id: token that hides another one; -1: none.
        decoder_start_id: where the decoder begins with another token than `start_id`; -1: it
            does not.
        unknown_id: token that stands for what the vocabulary cannot write; -1: none.
        other_end_ids: tokens that end what a decoder writes as `end_id` does.
        suppress_ids: tokens that a decoder never writes.
        framed: whether the tokenizer states all that stands around a text, even where it states
            nothing; else the family has a word in it.
        unread_id: token that counts for nothing at the end of what the tokenizer states, as where
            transformers takes it for padding and reads the classes before it; -1: there is none.
        segmented: whether the model is told which of two texts a token belongs to.

    Raises:
        InvalidArgumentError: there is no stack, or the two are not of one width.
    """

    family: str
    vocab_size: int
    decoder_vocab_size: int = 0
    encoder: StackConfig | None = None
    decoder: StackConfig | None = None
    tie_embeddings: bool = True
    share_embeddings: bool = False
    head_bias: bool = False
    task: TaskConfig
    lora: LoRAConfig | None = None
    start_id: int = -1
    end_id: int = -1
    pad_id: int = -1
    mask_id: int = -1
    decoder_start_id: int = -1
    unknown_id: int = -1
    other_end_ids: tuple[int, ...] = ()
    suppress_ids: tuple[int, ...] = ()
    framed: bool = False
    unread_id: int = -1
    segmented: bool = True

    def __post_init__(self) -> None:
        if self.vocab_size < 1:
            raise _wrong("vocab_size", "must be at least 1", "INVALID_FIELD")
        if self.encoder is None and self.decoder is None:
            raise errors.InvalidArgumentError(
                "a model needs an encoder or a decoder", reason="INVALID_CONFIG"
            )
        if len({stack.width for stack in self.stacks}) > 1:
            raise _wrong("decoder.width", f"must be the encoder's, {self.width}", "WIDTHS_DIFFER")
        if self.decoder_vocab_size == self.vocab_size:
            object.__setattr__(self, "decoder_vocab_size", 0)

    @property
    def stacks(self) -> tuple[StackConfig, ...]:
        """Encoder and decoder, those that are there."""
        return tuple(stack for stack in (self.encoder, self.decoder) if stack is not None)

    @property
    def width(self) -> int:
        """Of the residual stream."""
        return self.stacks[0].width

    @property
    def context(self) -> int:
        """Longest sequence of every stack, in tokens."""
        return min(stack.context for stack in self.stacks)

    @property
    def target_vocab_size(self) -> int:
        """Number of tokens that the decoder writes."""
        return self.decoder_vocab_size or self.vocab_size

    @property
    def first_id(self) -> int:
        """Token that a decoder beside an encoder begins with."""
        return self.decoder_start_id if self.decoder_start_id >= 0 else self.start_id

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a text, the one that is put after texts first."""
        return (*([self.end_id] if self.end_id >= 0 else []), *self.other_end_ids)

    @property
    def special_ids(self) -> dict[str, int]:
        """Special tokens by their roles, those that it names."""
        ids = {role: int(getattr(self, f"{role}_id")) for role in ROLES}
        return {role: number for role, number in ids.items() if number >= 0}

    @property
    def vector_width(self) -> int:
        """Numbers of an embedding."""
        return self.task.dense[-1].width if self.task.dense else self.width

    @property
    def trunk_parameters(self) -> int:
        """Number of weights but for those of its heads, shared ones counted once."""
        total = 0
        if self.encoder is not None:
            total += self.encoder.parameters(cross=False, tokens=self.vocab_size)
        if self.decoder is not None:
            cross = self.encoder is not None
            rows = 0 if self.share_embeddings and cross else self.target_vocab_size
            total += self.decoder.parameters(cross=cross, tokens=rows)
        return total

    def to_json(self) -> str:
        """The content of `config.json`."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelConfig:
        """The config that `to_json` wrote; unknown keys are ignored.

        Raises:
            InvalidArgumentError: it is not such a file.
        """
        known = {item.name for item in fields(cls)}
        try:
            values = {key: value for key, value in json.loads(text).items() if key in known}
            for name in ("encoder", "decoder"):
                if values.get(name) is not None:
                    values[name] = StackConfig.from_dict(values[name])
            if "task" in values:
                values["task"] = TaskConfig.from_dict(values["task"])
            if values.get("lora") is not None:
                values["lora"] = LoRAConfig.from_dict(values["lora"])
            for name in ("suppress_ids", "other_end_ids"):
                values[name] = tuple(values.get(name, ()))
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise errors.InvalidArgumentError(
                f"config.json is not the config of a model: {error}", reason="INVALID_CONFIG"
            ) from None


def _wrong(name: str, description: str, reason: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at(f"model.{name}", description, reason)
