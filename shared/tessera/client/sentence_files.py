"""The files by which a model's folder says how one vector is made of a text."""

from __future__ import annotations

from dataclasses import replace

from tessera import errors
from tessera.client.folder import Folder
from tessera.models.config import ModelConfig
from tessera.models.huggingface import sentence
from tessera.models.tasks import EMBEDDING


def read_vectors(folder: Folder, config: ModelConfig) -> ModelConfig:
    """A config with the choices of sentence-transformers, where the folder is one of its.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED or INVALID_CHECKPOINT.
    """
    modules = folder.read_json(sentence.MODULES)
    if modules is None or config.task.kind != EMBEDDING:
        return config
    sizes = folder.read_json(sentence.SIZES) or {}
    tokenizer = folder.read_json("tokenizer_config.json") or {}
    try:
        pooling = folder.read_json(sentence.pooling_path(modules))
        longest = sentence.read_longest(sizes, tokenizer, config.context)
        choices = {**sentence.read(modules, pooling.content()), "longest": longest}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise errors.InvalidArgumentError(
            f"{folder.path / sentence.MODULES} is not of sentence-transformers: {error!r}",
            reason="INVALID_CHECKPOINT",
        ) from None
    return replace(config, task=replace(config.task, **choices))
