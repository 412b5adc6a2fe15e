"""A Hugging Face folder that was looked through: what it holds, and what of it is not followed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tessera import errors
from tessera.client.adapter_files import find_base, is_adapter, read_adapter
from tessera.client.checkpoint import read_config, read_weights
from tessera.client.folder import Folder
from tessera.client.pieces import widened
from tessera.client.sentence_files import Vectors, read_vectors
from tessera.client.tokenizer_file import Words, has_tokenizer, read_tokenizer
from tessera.dtypes import DTYPES, FLOATS
from tessera.models import floats
from tessera.models.config import ModelConfig
from tessera.models.huggingface import catalog, generation
from tessera.models.huggingface.adapter import Adapter
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.inventory import Located, locate, overlaid
from tessera.models.huggingface.kept import Kept
from tessera.models.huggingface.origin import Origin
from tessera.models.huggingface.special_tokens import resolve
from tessera.models.huggingface.tensors import Entry, Tensor, TensorPlan
from tessera.models.huggingface.tokenizer import vocabulary
from tessera.models.tasks import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFolder:
    """A checked folder.

    Args:
        architecture: of its `config.json`.
        config: ours.
        entries: our tensors.
        parts: where their parts are stored, by the entries' names.
        dtype: element type of our weights, which holds the numbers of every part of them.
        tokenizer: the content of a `tokenizer.json`, if it has one.
        kept: the files of the tokenizer as they are.
        origin: its configuration as it is; None: weights or other files say otherwise.
        notes: what was left out or is not followed, in a sentence each.
    """

    architecture: Architecture
    config: ModelConfig
    entries: Sequence[Entry]
    parts: Mapping[str, Tensor]
    dtype: str
    tokenizer: bytes | None
    kept: Kept | None
    origin: Origin | None
    notes: tuple[str, ...]

    def dtype_of(self, entry: Entry) -> str:
        """Element type of one of our tensors: a buffer's is that of what is stored."""
        return self.parts[entry.theirs[0]].dtype if entry.buffer else self.dtype


def read(source: Folder | Path, base: str = "") -> CheckedFolder:
    """Check a folder; of the weights only names, shapes and what may be tied are read.

    Every file, every key of its configuration and every tensor is followed, known to change
    nothing, named in a note, or refused.

    Args:
        source: the folder.
        base: folder or repository of the model that it is an adapter for; empty: the one that it
            names.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: UNSUPPORTED_ARCHITECTURE, IMPORT_UNSUPPORTED, PICKLED_WEIGHTS,
            INVALID_CHECKPOINT, INVALID_TOKENIZER, TOKENIZER_WITHOUT_END, TOKENIZER_TOO_LARGE,
            UNSUPPORTED_DTYPE or BASE_OF_NO_ADAPTER.
        FailedPreconditionError: TOKENIZER_NEEDS_TRANSFORMERS or ADAPTER_WITHOUT_BASE.
    """
    folder = source if isinstance(source, Folder) else Folder(source)
    if not is_adapter(folder):
        if base:
            raise errors.InvalidArgumentError.at(
                "base", f"{folder} is no adapter, and has none: leave it out", "BASE_OF_NO_ADAPTER"
            )
        return _read(folder)
    adapter = read_adapter(folder)
    return _read(find_base(folder, base), folder, adapter)


def _read(
    folder: Folder, over: Folder | None = None, adapter: Adapter | None = None
) -> CheckedFolder:
    """A model's folder, and what may be laid over it."""
    values, settings = read_config(folder), folder.read_object("generation_config.json")
    architecture, stated = catalog.read(values, settings)
    config = stated if adapter is None else adapter.sized(stated, architecture)
    vectors = read_vectors(folder, config)
    texts = over if over is not None and has_tokenizer(over) else folder
    words = _words(texts, vectors)
    asked = generation.read(values, settings, architecture.writer)
    named = None if words is None else words.named
    config, strange = resolve(vectors.config, values, asked, named)
    if words is not None:
        config = replace(config, framed=words.framed, segmented=words.segmented)
    stored: Mapping[str, Tensor] = {**read_weights(folder), **vectors.tensors}
    if adapter is not None:
        stored = overlaid(stored, adapter.replaced, architecture.base)
    located = locate(architecture, config, stored)
    parts = located.parts if adapter is None else adapter.over(located)
    weights = _weights(located.plan, parts)
    _check_shapes(located.plan.entries, parts)
    _check_start(located.config)
    dtype = floats.widest(part.dtype for part in weights.values())
    notes = [*located.notes, *widened(weights, dtype), *strange, *vectors.notes]
    notes += [_no_tokenizer(config)] if words is None else words.notes
    if over is not None:
        notes += over.unfollowed()
    return CheckedFolder(
        architecture=architecture,
        config=located.config,
        entries=located.plan.entries,
        parts=parts,
        dtype=dtype,
        tokenizer=None if words is None else words.content,
        kept=None if words is None else words.kept,
        origin=_origin(folder, located.config) if _says(stated, config, located) else None,
        notes=(*notes, *folder.unfollowed()),
    )


def _says(stated: ModelConfig, config: ModelConfig, located: Located) -> bool:
    """Whether all that `config.json` states of a model is true of the one that was made."""
    return (
        stated.vocab_size == config.vocab_size
        and stated.task.activation == config.task.activation
        and located.config == config
    )


def _origin(folder: Folder, config: ModelConfig) -> Origin:
    """The configuration of a folder, which was read."""
    settings = folder.read_bytes("generation_config.json")
    return Origin(
        config=config,
        values=json.loads(folder.read_bytes("config.json") or b"{}"),
        settings=None if settings is None else json.loads(settings),
    )


def _words(folder: Folder, vectors: Vectors) -> Words | None:
    """The tokenizer of a model; None where it has none, or two vocabularies."""
    config = vectors.config
    if config.decoder_vocab_size:
        return None
    found = read_tokenizer(folder, config.vocab_size, lowercase=vectors.lowercase)
    if found is not None:
        _check_vocabulary(config, found.content)
    return found


def _no_tokenizer(config: ModelConfig) -> str:
    """Why a version has none, and what that means."""
    if config.decoder_vocab_size:
        return (
            f"the encoder has a vocabulary of {config.vocab_size} tokens, the decoder another one"
            f" of {config.decoder_vocab_size}, and a version holds one tokenizer, so it has none:"
            " send `tokens` of the first, and read the tokens of answers with the second"
        )
    return "there is no tokenizer: the model takes and gives token ids only"


def _check_vocabulary(config: ModelConfig, tokenizer: bytes) -> None:
    tokens = max(vocabulary(tokenizer).values()) + 1
    if tokens > config.vocab_size:
        raise errors.InvalidArgumentError(
            f"tokenizer.json has {tokens} tokens, and the model embeddings of {config.vocab_size}:"
            " they do not belong together; resize the embeddings in transformers"
            " (resize_token_embeddings), or take the tokenizer that it was trained with",
            reason="INVALID_CHECKPOINT",
        )


def _check_start(config: ModelConfig) -> None:
    """A decoder that cannot begin can never be served."""
    if kind_of(config.task).translates and not 0 <= config.first_id < config.target_vocab_size:
        said = "names none" if config.first_id < 0 else f"names {config.first_id}"
        raise errors.InvalidArgumentError.at(
            "config.json: decoder_start_token_id",
            f"the decoder begins with one of its {config.target_vocab_size} tokens, and the folder"
            f" {said}: add the id of the one that it was trained with",
            "IMPORT_UNSUPPORTED",
        )


def _weights(plan: TensorPlan, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All parts but the buffers, whose element types are their own."""
    weights = {name: part for name, part in parts.items() if name not in plan.buffers}
    _check_dtypes(weights, FLOATS)
    _check_dtypes({name: parts[name] for name in plan.buffers}, DTYPES)
    return weights


def _check_dtypes(parts: Mapping[str, Tensor], able: Sequence[str]) -> None:
    for name, part in parts.items():
        if part.dtype not in able:
            raise errors.InvalidArgumentError(
                f"`{name}` is of element type {part.dtype}, as of quantized weights, which cannot"
                f" be imported; load the model with transformers and `save_pretrained` it in one of"
                f" {', '.join(able)}",
                reason="UNSUPPORTED_DTYPE",
            )


def _check_shapes(entries: Sequence[Entry], parts: Mapping[str, Tensor]) -> None:
    for entry in entries:
        for name, shape in entry.parts.items():
            if parts[name].shape != shape:
                raise errors.InvalidArgumentError(
                    f"`{name}` is {list(parts[name].shape)}, and a model of this config.json has"
                    f" {list(shape)}: they do not belong together",
                    reason="INVALID_CHECKPOINT",
                )
