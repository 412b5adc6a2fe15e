"""How long what an engine reads and writes may be."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.inference.engine import block_tables
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import Request


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lengths in tokens, bounded by the model and by the caches.

    Args:
        blocks: of the cache of what decoders have written.
        cross_blocks: blocks of what they keep of encoders.
    """

    blocks: BlockManager
    cross_blocks: BlockManager

    def reading(self, model: LoadedModel) -> int:
        """Longest text that all stacks read."""
        return model.config.context

    def source(self, model: LoadedModel) -> int:
        """Longest source that an encoder reads for a decoder."""
        assert model.config.encoder is not None
        return min(model.config.encoder.context, self.cross_blocks.capacity)

    def writing(self, model: LoadedModel) -> int:
        """Longest text that a decoder writes, its prompt included."""
        assert model.config.decoder is not None
        return min(model.config.decoder.context, self.blocks.capacity)

    def limit(self, request: Request, model: LoadedModel) -> int:
        """Tokens at which an answer ends, the prompt included."""
        wanted = len(request.prompt) + request.max_tokens
        room = block_tables.longest(self.blocks, len(request.prompt), request.beams)
        return min(wanted, self.writing(model), room)
