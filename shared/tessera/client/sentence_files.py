"""The files by which a model's folder says how one vector is made of a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tessera import errors
from tessera.client.checkpoint import Stored, open_tensors
from tessera.client.folder import Folder
from tessera.models.config import ModelConfig
from tessera.models.huggingface import fields, sentence
from tessera.models.huggingface.statement import Statement
from tessera.models.tasks import EMBEDDING, kind_of

_TEMPLATE = (
    "the tokenizer has a chat template, through which sentence-transformers would read every text"
    " of this folder: here, and in an export, texts are read as they are"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """How a folder makes vectors.

    Args:
        config: of the model, with that.
        lowercase: whether texts are made lower case first.
        tensors: of the layers after the pooling.
        notes: what is not followed, in a sentence each.
    """

    config: ModelConfig
    lowercase: bool = False
    tensors: dict[str, Stored] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_vectors(folder: Folder, config: ModelConfig) -> Vectors:
    """What sentence-transformers makes of a folder; of one without its files, as it would.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED, INVALID_CHECKPOINT or PICKLED_WEIGHTS.
    """
    try:
        if kind_of(config.task).scores:
            return _scored(folder, config)
        if config.task.kind != EMBEDDING:
            return Vectors(config=config)
        return _read(folder, config)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise errors.InvalidArgumentError(
            f"{folder.path / sentence.MODULES} is not of sentence-transformers: {error!r}",
            reason="INVALID_CHECKPOINT",
        ) from None


def _read(folder: Folder, config: ModelConfig) -> Vectors:
    modules = folder.read_json(sentence.MODULES)
    tokenizer = _tokenizer(folder)
    if modules is None:
        longest = sentence.read_longest(Statement({}), tokenizer, config.context)
        choices: dict[str, Any] = {"pooling": "mean", "normalize": False, "longest": longest}
        return Vectors(
            config=replace(config, task=replace(config.task, **choices)),
            notes=(_TEMPLATE,) if _templated(folder) else (),
        )
    found = sentence.read_modules(modules)
    at = f"{found[0][1]}/" if found[0][1] else ""
    if at:
        raise sentence.refused(
            sentence.MODULES, "path", f"the model itself lies in {at}: import that folder"
        )
    sizes = folder.read_object(sentence.SIZES) or Statement({})
    lowercase = sentence.read_sizes(sizes, templated=_templated(folder))
    settings = folder.read_object(sentence.SETTINGS) or Statement({})
    pooling = folder.read_object(f"{found[1][1]}/config.json") or Statement({})
    choices = {
        **sentence.read_pooling(pooling, config.width),
        **sentence.read_settings(settings),
        "longest": sentence.read_longest(sizes, tokenizer, config.context),
        "normalize": found[-1][0] == "Normalize",
    }
    layers, tensors, width = [], dict[str, Stored](), config.width
    for number, (kind, path) in enumerate(found):
        if kind == "Dense":
            stated = folder.read_object(f"{path}/config.json") or Statement({})
            layer = sentence.read_dense(stated, width)
            tensors.update(_tensors(folder, path, number))
            layers.append(layer)
            width = layer.width
    if found[-1][0] == "Normalize":
        folder.read_bytes(f"{found[-1][1]}/config.json")
    task = replace(config.task, **choices, dense=tuple(layers))
    return Vectors(config=replace(config, task=task), lowercase=lowercase, tensors=tensors)


def _scored(folder: Folder, config: ModelConfig) -> Vectors:
    """A CrossEncoder, which may say what makes a score of its logit."""
    modules = folder.read_json(sentence.MODULES)
    if modules is not None:
        sentence.read_modules(modules, usual=("Transformer",))
    settings = folder.read_object(sentence.SETTINGS) or Statement({})
    sentence.check_scoring(settings)
    stated = fields.activation_of(settings.get("activation_fn"))
    task = replace(config.task, activation=stated or config.task.activation)
    sizes = folder.read_object(sentence.SIZES)
    lowercase = sizes is not None and sentence.read_sizes(
        sizes, templated=_templated(folder), task=sentence.SCORING
    )
    return Vectors(config=replace(config, task=task), lowercase=lowercase)


def _templated(folder: Folder) -> bool:
    """Whether the tokenizer has a chat template."""
    files = any(map(folder.has, ("chat_template.jinja", "chat_template.json")))
    return files or bool(_tokenizer(folder).get("chat_template"))


def _tokenizer(folder: Folder) -> dict[str, Any]:
    """What `tokenizer_config.json` says; the file is kept, so that nothing in it is lost."""
    content = json.loads(folder.read_bytes("tokenizer_config.json") or b"{}")
    return dict(content)


def _tensors(folder: Folder, path: str, number: int) -> Iterator[tuple[str, Stored]]:
    """The tensors of a layer, as `sentence.entries` calls them."""
    name = f"{path}/model.safetensors"
    if not folder.has(name):
        raise errors.InvalidArgumentError(
            f"{folder.path / path} has no model.safetensors, the weights of a Dense layer: load the"
            " model with sentence-transformers and save it again",
            reason="PICKLED_WEIGHTS"
            if folder.has(f"{path}/pytorch_model.bin")
            else "INVALID_CHECKPOINT",
        )
    for tensor, stored in open_tensors(folder, name).items():
        yield f"{number}_Dense/{tensor}", stored
