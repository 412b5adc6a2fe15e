"""Sizes of a run's model: the spec's, and where it is silent those of the versions it begins with.

A model is drafted before the data is read, for tasks have to know its context, and completed with
what the data has told: the vocabulary, and the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tokenizers

from tessera.models.config import ModelConfig, StackConfig
from tessera.models.registry import family
from tessera.models.sizes import STACK_SIZES
from tessera.models.task import SIGMOID, TaskConfig
from tessera.models.tasks import kind_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.failure import UserError
from tessera.trainer.settings import Settings
from tessera.trainer.versions.starting_point import (
    DECODER,
    ENCODER,
    WHOLE,
    InitVersion,
    StartingPoint,
)

_FREE = ("dropout", "attention_dropout")
"""Values that the weights do not depend on: they may be other ones than the version's."""

_COMMON = ("layers", "heads", "kv_heads", "width", "ff_width", "context", *_FREE)
"""What a stack without a version takes from the other one's."""

_OPEN = 1
"""The vocabulary's size while it is not known."""


def draft(settings: Settings, start: StartingPoint) -> ModelConfig:
    """The model but for its vocabulary and its task.

    Raises:
        UserError: INIT_MISMATCH, SEQUENCE_LONGER_THAN_CONTEXT.
        InvalidArgumentError: the sizes do not go together.
    """
    if start.own is not None:
        return start.own.config
    if not start.sources:
        config = family(settings.family).config(settings.sizes, vocab_size=_OPEN)
    elif start.sources[0].part == WHOLE:
        config = _from_whole(settings, start.sources[0])
    else:
        config = _from_parts(settings, {source.part: source for source in start.sources})
    if settings.sequence_length > config.context:
        description = f"{settings.sequence_length} tokens do not fit a context of {config.context}"
        raise UserError.at("train.sequence_length", description, "SEQUENCE_LONGER_THAN_CONTEXT")
    return config


def complete(
    config: ModelConfig,
    settings: Settings,
    start: StartingPoint,
    task: TaskConfig,
    tokenizer: Tokenizer,
) -> ModelConfig:
    """The whole model.

    Raises:
        UserError: INIT_MISMATCH: a version has another vocabulary, or other adapters.
    """
    if start.own is not None:
        return config
    for source in start.sources:
        _check_vocabulary(source, tokenizer)
    lora = settings.tuning.lora
    if lora is not None and config.lora not in {None, lora}:
        description = (
            f"{start.sources[0]} has adapters of its own; give the same rank, alpha and targets, "
            "or start from a version into which they are merged"
        )
        raise UserError.at("tuning.lora", description, "INIT_MISMATCH")
    first, speaker = start.first_id(settings), start.speaker(settings)
    return replace(
        config,
        vocab_size=config.vocab_size if start.sources else tokenizer.vocab_size,
        task=_inherited(task, settings, start),
        lora=lora or config.lora,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        mask_id=-1 if tokenizer.mask_id is None else tokenizer.mask_id,
        unknown_id=-1 if tokenizer.unknown_id is None else tokenizer.unknown_id,
        other_end_ids=() if speaker is None else speaker.config.other_end_ids,
        framed=speaker is not None and speaker.config.framed,
        decoder_start_id=-1 if first == tokenizer.start_id or len(config.stacks) == 1 else first,
    )


def _from_whole(settings: Settings, source: InitVersion) -> ModelConfig:
    """The version's model; the spec may repeat its sizes, not contradict them."""
    config, sizes = source.config, settings.sizes
    _check("model.family", settings.family, config.family, source)
    first, last = config.stacks[0], config.stacks[-1]
    _check_stack(sizes, first, source)
    found: dict[str, Any] = {
        "decoder_layers": last.layers,
        "tie_embeddings": config.tie_embeddings,
        "share_embeddings": config.share_embeddings,
    }
    for name, value in found.items():
        _check(f"model.{name}", sizes.get(name, value), value, source)
    return replace(
        config,
        encoder=_freed(config.encoder, sizes),
        decoder=_freed(config.decoder, sizes),
    )


def _from_parts(settings: Settings, parts: Mapping[str, InitVersion]) -> ModelConfig:
    """A model whose stacks are the versions', or as large as those."""
    for source in parts.values():
        if source.config.lora is not None:
            description = (
                f"{source} has adapters apart from its weights; start from a version into which "
                "they are merged (`tuning.lora.merge`)"
            )
            raise UserError.at(source.field, description, "INIT_MISMATCH")
    sizes = settings.sizes
    stacks = {part: _stack_of(source) for part, source in parts.items()}
    for part, stack in stacks.items():
        _check_stack(sizes if part == ENCODER else _of_decoder(sizes), stack, parts[part])
    some = next(iter(stacks.values()))
    if any(stack.width != some.width for stack in stacks.values()):
        description = (
            f"{parts[DECODER]} has a width of {stacks[DECODER].width}, {parts[ENCODER]} one of "
            f"{stacks[ENCODER].width}; take versions of the same width"
        )
        raise UserError.at(parts[DECODER].field, description, "INIT_MISMATCH")
    common = {name: getattr(some, name) for name in _COMMON}
    tied = parts.get(DECODER, parts.get(ENCODER))
    assert tied is not None
    plain = family(settings.family).config(
        {
            "tie_embeddings": tied.config.tie_embeddings,
            # A decoder of its own has an embedding of its own.
            **({"share_embeddings": False} if DECODER in parts else {}),
            **common,
            **sizes,
        },
        vocab_size=_rows(parts, ENCODER) or _rows(parts, DECODER),
    )
    return replace(
        plain,
        decoder_vocab_size=_rows(parts, DECODER),
        encoder=_freed(stacks.get(ENCODER, plain.encoder), sizes),
        decoder=_freed(stacks.get(DECODER, plain.decoder), sizes),
    )


def _stack_of(source: InitVersion) -> StackConfig:
    config = source.config
    stack = config.encoder if source.part == ENCODER else config.decoder
    if stack is None:
        description = f"{source} is a {config.family}, which has no {source.part}"
        raise UserError.at(source.field, description, "INIT_MISMATCH")
    return stack


def _of_decoder(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes with the decoder's own number of layers, where that is stated."""
    return {**sizes, "layers": sizes["decoder_layers"]} if "decoder_layers" in sizes else {**sizes}


def _rows(parts: Mapping[str, InitVersion], part: str) -> int:
    if part not in parts:
        return 0
    config = parts[part].config
    return config.vocab_size if part == ENCODER else config.target_vocab_size


def _check_stack(sizes: Mapping[str, Any], stack: StackConfig, source: InitVersion) -> None:
    for name in STACK_SIZES:
        if name not in _FREE:
            found = getattr(stack, name)
            _check(f"model.{name}", sizes.get(name, found), found, source)


def _check(field: str, wanted: object, found: object, source: InitVersion) -> None:
    if wanted != found:
        name = field.removeprefix("model.")
        description = (
            f"{wanted} does not fit {source}, whose {name} is {found}; leave the field out "
            "to take what the version has"
        )
        raise UserError.at(field, description, "INIT_MISMATCH")


def _freed(stack: StackConfig | None, sizes: Mapping[str, Any]) -> StackConfig | None:
    """The stack with those of its values that the spec may change."""
    if stack is None:
        return None
    return replace(stack, **{name: sizes[name] for name in _FREE if name in sizes})


def _check_vocabulary(source: InitVersion, tokenizer: Tokenizer) -> None:
    """A row of an embedding means the token that it was learned for."""
    theirs = source.tokenizer
    if theirs is not None and _vocabulary(theirs.content) != _vocabulary(tokenizer.to_json()):
        if source.part == WHOLE:
            description = (
                f"it has another vocabulary than {source}; leave it out to take what the version "
                "has"
            )
            raise UserError.at("tokenizer.path", description, "INIT_MISMATCH")
        description = (
            f"{source} has another vocabulary than the tokenizer of this run; train the parts "
            "with one tokenizer, which `tokenizer.path` takes"
        )
        raise UserError.at(source.field, description, "INIT_MISMATCH")
    rows = source.config.vocab_size
    if source.part == WHOLE and tokenizer.vocab_size > rows:
        description = (
            f"{tokenizer.vocab_size} tokens do not fit {source}, which has embeddings of {rows}; "
            "take the tokenizer that it was trained with"
        )
        raise UserError.at("tokenizer.path", description, "INIT_MISMATCH")


def _inherited(task: TaskConfig, settings: Settings, start: StartingPoint) -> TaskConfig:
    """The task, with what the spec leaves open as in a version that does the same."""
    whole = [source.config.task for source in start.sources if source.part == WHOLE]
    if not whole or kind_of(whole[0]).head_names != kind_of(task).head_names:
        return task
    pooling = settings.task.pooling or whole[0].pooling
    # A version that gives scores from 0 to 1 cannot give others.
    goes_on = whole[0].kind == task.kind and task.activation == SIGMOID
    return replace(
        whole[0],
        kind=task.kind,
        labels=task.labels,
        multi_label=task.multi_label,
        pooling=pooling,
        activation=whole[0].activation if goes_on else task.activation,
    )


def _vocabulary(content: bytes) -> dict[str, int]:
    return dict(tokenizers.Tokenizer.from_str(content.decode()).get_vocab(with_added_tokens=True))
