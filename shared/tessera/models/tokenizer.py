"""The tokenizer of a model."""

from __future__ import annotations

from tessera.models.config import ModelConfig
from tessera.text.file import TokenizerFile


def tokenizer_file(config: ModelConfig, content: bytes) -> TokenizerFile:
    """What a model's tokenizer is loaded from.

    Args:
        config: of the model.
        content: of its `tokenizer.json`.
    """
    return TokenizerFile(
        content=content, ids=config.special_ids, framed=config.framed, unread=config.unread_id
    )
