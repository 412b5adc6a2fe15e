"""The files by which a model's folder says how one vector is made of a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tessera import errors
from tessera.client.checkpoint import read_json
from tessera.models.config import ModelConfig
from tessera.models.huggingface import sentence
from tessera.models.tasks import EMBEDDING


def read_vectors(folder: Path, config: ModelConfig) -> ModelConfig:
    """A config with the choices of sentence-transformers, where the folder is one of its.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED or INVALID_CHECKPOINT.
    """
    modules = read_json(folder, sentence.MODULES)
    if modules is None or config.task.kind != EMBEDDING:
        return config
    sizes = read_json(folder, sentence.SIZES) or {}
    tokenizer = read_json(folder, "tokenizer_config.json") or {}
    try:
        pooling = read_json(folder, sentence.pooling_path(modules))
        longest = sentence.read_longest(sizes, tokenizer, config.context)
        choices = {**sentence.read(modules, pooling), "longest": longest}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise errors.InvalidArgumentError(
            f"{folder / sentence.MODULES} is not of sentence-transformers: {error!r}",
            reason="INVALID_CHECKPOINT",
        ) from None
    return replace(config, task=replace(config.task, **choices))
