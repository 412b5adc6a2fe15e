"""Names of a stack's tensors in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tessera.models.config import StackConfig
from tessera.models.huggingface.tensors import Entry

NORMS = ("attention_norm", "cross_norm", "mlp_norm")

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackNames:
    """What an architecture calls the tensors of one stack; empty where it has none.

    Args:
        tokens: the token embedding.
        positions: the table of positions.
        segments: the table of segments.
        embedding_norm: the norm of their sum.
        layers: the list of its layers.
        layer: names within a layer by ours; several are the parts of one of ours.
        norm: the norm after the last layer.
        transposed: whether its linear layers are [in, out].
    """

    tokens: str
    positions: str = ""
    segments: str = ""
    embedding_norm: str = ""
    layers: str
    layer: Mapping[str, Parts]
    norm: str = ""
    transposed: bool = False

    def entries(self, side: str, config: StackConfig, tokens: int) -> Iterator[Entry]:
        """Every tensor of the stack.

        Args:
            side: `encoder` or `decoder`.
            config: of the stack.
            tokens: rows of its own token embedding; 0: it borrows one.
        """
        trunk = f"trunk.{side}"
        learned = config.positions == "learned"
        tables = {
            "tokens": (self.tokens, tokens),
            "positions": (
                self.positions,
                config.context + config.position_offset if learned else 0,
            ),
            "segments": (self.segments, config.segments),
        }
        for name, (theirs, rows) in tables.items():
            if rows:
                yield Entry(
                    ours=f"{trunk}.embeddings.{name}.weight",
                    shape=(rows, config.width),
                    theirs=(theirs,),
                )
        if config.embedding_norm:
            yield from norm(f"{trunk}.embeddings.norm", self.embedding_norm, config)
        for layer in range(config.layers):
            yield from self._layer(f"{trunk}.blocks.{layer}", f"{self.layers}.{layer}", config)
        if config.final_norm:
            yield from norm(f"{trunk}.norm", self.norm, config)

    def _layer(self, ours: str, theirs: str, config: StackConfig) -> Iterator[Entry]:
        width, keys = config.width, config.kv_heads * config.head_dim
        inner = config.ff_width
        rows = {"attention.qkv": (width, keys, keys), "cross.kv": (keys, keys)}
        shapes = {"mlp.up": (inner, width), "mlp.gate": (inner, width), "mlp.down": (width, inner)}
        for name, parts in self.layer.items():
            if name in NORMS:
                yield from norm(f"{ours}.{name}", f"{theirs}.{parts[0]}", config)
                continue
            shape = shapes.get(name, (sum(rows.get(name, (width,))), width))
            for kind in ("weight", "bias") if config.bias else ("weight",):
                yield Entry(
                    ours=f"{ours}.{name}.{kind}",
                    shape=shape if kind == "weight" else shape[:1],
                    theirs=tuple(f"{theirs}.{part}.{kind}" for part in parts),
                    rows=rows[name] if len(parts) > 1 else (),
                    transposed=self.transposed,
                )


def norm(ours: str, theirs: str, config: StackConfig) -> Iterator[Entry]:
    """The tensors of a norm."""
    for kind in ("weight", "bias") if config.norm == "layer" else ("weight",):
        yield Entry(ours=f"{ours}.{kind}", shape=(config.width,), theirs=(f"{theirs}.{kind}",))


def linear(ours: str, theirs: str, shape: tuple[int, int], *, bias: bool = True) -> Iterator[Entry]:
    """The tensors of a linear layer outside of the stacks; its shape is [out, in]."""
    yield Entry(ours=f"{ours}.weight", shape=shape, theirs=(f"{theirs}.weight",))
    if bias:
        yield Entry(ours=f"{ours}.bias", shape=shape[:1], theirs=(f"{theirs}.bias",))
