"""Sizes of models. Needs neither torch nor numpy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from tessera import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class GPTConfig:
    """Sizes of a GPT: a stack of pre-norm blocks with learned positions.

    Args:
        vocab_size: rows of the embedding.
        context: longest sequence, in tokens.
        layers: number of blocks.
        heads: attention heads; they divide the width.
        width: of the residual stream.
        ff_width: hidden width of the MLP; 0: 4 * width.
        dropout: probability, on embeddings, attention output and MLP output.
        tie_embeddings: whether the output projection is the embedding.

    Raises:
        InvalidArgumentError: a size is not positive, or the heads do not divide the width.
    """

    vocab_size: int
    context: int = 256
    layers: int = 4
    heads: int = 4
    width: int = 256
    ff_width: int = 0
    dropout: float = 0.0
    tie_embeddings: bool = True
    family: str = "gpt"

    def __post_init__(self) -> None:
        if not self.ff_width:
            object.__setattr__(self, "ff_width", 4 * self.width)
        for name in ("vocab_size", "context", "layers", "heads", "width", "ff_width"):
            if getattr(self, name) < 1:
                raise _wrong(name, "must be at least 1", "INVALID_FIELD")
        if self.width % self.heads:
            raise _wrong(
                "heads",
                f"{self.heads} heads do not divide a width of {self.width}",
                "HEADS_DO_NOT_DIVIDE_WIDTH",
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        norms = 2 * self.width
        attention = 4 * self.width * self.width + 4 * self.width
        mlp = 2 * self.width * self.ff_width + self.ff_width + self.width
        embeddings = (self.vocab_size + self.context) * self.width
        head = 0 if self.tie_embeddings else self.vocab_size * self.width
        return embeddings + self.layers * (2 * norms + attention + mlp) + norms + head

    def to_json(self) -> str:
        """The content of `config.json`."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> GPTConfig:
        """The config that `to_json` wrote; unknown keys are ignored.

        Raises:
            InvalidArgumentError: it is not such a file.
        """
        known = {field.name for field in fields(cls)}
        try:
            values = json.loads(text)
            return cls(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise errors.InvalidArgumentError(
                f"config.json is not the config of a model: {error}", reason="INVALID_CONFIG"
            ) from None


def _wrong(name: str, description: str, reason: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at(f"model.{name}", description, reason)
