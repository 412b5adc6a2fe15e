"""Every file of an exported model but its weights."""

from __future__ import annotations

from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface import sentence
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import or_none, write_ids
from tessera.models.huggingface.kept import Kept
from tessera.models.huggingface.origin import Origin
from tessera.models.huggingface.tokenizer import dump, tokenizer_files
from tessera.models.tasks import EMBEDDING, kind_of


def files(
    architecture: Architecture,
    config: ModelConfig,
    tokenizer_json: bytes | None,
    dtype: str,
    kept: Kept | None = None,
    *,
    origin: Origin | None = None,
) -> dict[str, bytes]:
    """Name and content of each.

    Args:
        architecture: that holds the model.
        config: of the model.
        tokenizer_json: the asset of the version, if it has one.
        dtype: element type of the weights, as torch calls it.
        kept: the files of its tokenizer as they came, which go out so; None: it was trained here.
        origin: the configuration as it came, which goes out so; None: it is no longer true.
    """
    # Only sentence-transformers reads in lower case what the tokenizer's files do not say.
    lowercase = kept is not None and kept.lowercase
    if origin is None:
        found = _configuration(architecture, config, dtype)
    else:
        found = origin.files(architecture.name, architecture.model_type, dtype)
    templated = kept is not None and kept.templated
    found.update(sentence.files(config, lowercase=lowercase, templated=templated))
    if kept is not None and (not lowercase or config.task.kind == EMBEDDING):
        found.update(kept.files)
    elif tokenizer_json is not None:
        found.update(tokenizer_files(config, tokenizer_json))
    return found


def _configuration(architecture: Architecture, config: ModelConfig, dtype: str) -> dict[str, bytes]:
    values = {"architectures": [architecture.name], **architecture.write(config), "dtype": dtype}
    found = {"config.json": dump(values)}
    if kind_of(config.task).writes:
        found["generation_config.json"] = dump(_generation(config))
    return found


def _generation(config: ModelConfig) -> dict[str, Any]:
    values: dict[str, Any] = {**write_ids(config), "do_sample": config.encoder is None}
    if config.encoder is not None:
        values["decoder_start_token_id"] = or_none(config.first_id)
    if config.suppress_ids:
        values["bad_words_ids"] = [[token] for token in config.suppress_ids]
    return values
