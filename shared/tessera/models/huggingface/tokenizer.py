"""The files beside the weights that make transformers load a tokenizer. Needs no tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.registry import family
from tessera.models.tasks import kind_of
from tessera.text.special import find_special

_READ = {"cls_token": "start", "sep_token": "end"}
_WRITTEN = {"bos_token": "start", "eos_token": "end"}
"""What transformers calls the tokens that begin and end a text that is read, or written."""

_COMMON = {"pad_token": "pad", "mask_token": "mask", "unk_token": "unknown"}
_IDS = ("start", "end", "pad", "mask")
_ADDING = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")


def vocabulary(tokenizer_json: bytes) -> dict[str, int]:
    """Every token's id.

    Raises:
        InvalidArgumentError: INVALID_TOKENIZER.
    """
    try:
        content = json.loads(tokenizer_json)
        known = content["model"]["vocab"]
        if isinstance(known, list):
            known = {piece: number for number, (piece, _) in enumerate(known)}
        added = {str(token["content"]): int(token["id"]) for token in content["added_tokens"] or ()}
    except (ValueError, TypeError, KeyError) as error:
        raise errors.InvalidArgumentError(
            f"tokenizer.json is not a tokenizer: {error!r}", reason="INVALID_TOKENIZER"
        ) from None
    return {**known, **added}


def added_tokens(tokenizer_json: bytes) -> list[dict[str, Any]]:
    """The tokens that are found in a text before anything else is done with it.

    Raises:
        InvalidArgumentError: INVALID_TOKENIZER.
    """
    vocabulary(tokenizer_json)
    return list(json.loads(tokenizer_json)["added_tokens"] or ())


def unknown(tokenizer_json: bytes) -> str:
    """The token that stands for what the vocabulary cannot write; empty: there is none."""
    model = json.loads(tokenizer_json)["model"]
    number = model.get("unk_id")
    if number is not None:
        return str(model["vocab"][number][0])
    return str(model.get("unk_token") or "")


def without(tokenizer_json: bytes, words: int, own: bytes) -> bytes:
    """A tokenizer without the tokens that were added to it and that its model does not know.

    Args:
        tokenizer_json: what transformers made of it, which has a class add what it is used to.
        words: that the model knows.
        own: the tokenizer as its folder has it.
    """
    there = {token["content"] for token in added_tokens(own)}
    added = added_tokens(tokenizer_json)
    kept = [token for token in added if token["content"] in there or int(token["id"]) < words]
    if len(kept) == len(added):
        return tokenizer_json
    return _changed(tokenizer_json, added_tokens=kept)


def with_lowercase(tokenizer_json: bytes) -> bytes:
    """A tokenizer that makes texts lower case first, as sentence-transformers changes one."""
    own = json.loads(tokenizer_json)["normalizer"]
    parts = [] if own is None else own["normalizers"] if own["type"] == "Sequence" else [own]
    if any(part["type"] == "Lowercase" for part in parts):
        return tokenizer_json
    first = {"type": "Lowercase"}
    return _changed(tokenizer_json, normalizer={"type": "Sequence", "normalizers": [first, *parts]})


def _changed(tokenizer_json: bytes, **parts: Any) -> bytes:
    return json.dumps({**json.loads(tokenizer_json), **parts}, ensure_ascii=False).encode()


def tokenizer_files(config: ModelConfig, tokenizer_json: bytes) -> dict[str, bytes]:
    """Name and content of each file.

    Args:
        config: of the model that reads its ids.
        tokenizer_json: the asset of the version.
    """
    names = _names(config, tokenizer_json)
    reads = config.encoder is not None and family(config.family).starts
    writes = config.decoder is not None
    roles = {**(_READ if reads else {}), **(_WRITTEN if writes else {}), **_COMMON}
    special = {theirs: names[ours] for theirs, ours in roles.items() if names[ours]}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.context,
        "model_input_names": [
            "input_ids",
            *([] if writes else ["token_type_ids"]),
            "attention_mask",
        ],
        "clean_up_tokenization_spaces": False,
        # In the texts of a GPT that was trained here, what looks like a special token is text;
        # others are asked to fill in their mask.
        "split_special_tokens": config.encoder is None,
        **special,
    }
    return {
        "tokenizer.json": _framing(config, tokenizer_json, names),
        "tokenizer_config.json": dump(settings),
        "special_tokens_map.json": dump(special),
    }


def dump(value: object) -> bytes:
    """JSON as it stands in files."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _names(config: ModelConfig, tokenizer_json: bytes) -> dict[str, str]:
    """Each special token by its role: the config says which, or else their well-known names."""
    ids = vocabulary(tokenizer_json)
    special = find_special(ids)
    by_id = {number: name for name, number in ids.items()}
    names = {
        role: by_id.get(getattr(config, f"{role}_id"), getattr(special, role)) for role in _IDS
    }
    if config.encoder is None:
        names["start"] = names["start"] or names["end"]
    return {**names, "unknown": special.unknown or names["end"]}


def _framing(config: ModelConfig, tokenizer_json: bytes, names: Mapping[str, str]) -> bytes:
    """The tokenizer with the special tokens that training adds to what an encoder reads.

    One that frames texts already stays as it is; so does a GPT's that says that nothing is added.
    """
    content = json.loads(tokenizer_json)
    start, end = names["start"], names["end"]
    writes_on = config.encoder is None and kind_of(config.task).writes
    own = content.get("post_processor")
    stated = own is not None and (config.encoder is None or _adds_tokens(own))
    if stated or writes_on or not end:
        return tokenizer_json
    framed = family(config.family).starts and bool(start)
    before = [_token(start, 0)] if framed else []
    first = [*before, _sequence("A", 0), _token(end, 0)]
    kind = 1 if config.encoder is not None and config.encoder.segments > 1 else 0
    ids = vocabulary(tokenizer_json)
    used = (start, end) if framed else (end,)
    template = {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, _sequence("B", kind), _token(end, kind)],
        "special_tokens": {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in used
        },
    }
    both = {"type": "Sequence", "processors": [own, template]}
    content["post_processor"] = template if own is None else both
    return json.dumps(content, ensure_ascii=False).encode()


def _adds_tokens(processor: Mapping[str, Any]) -> bool:
    """Whether a post-processor puts anything around a text."""
    parts = processor.get("processors", [processor])
    return any(part["type"] in _ADDING for part in parts)


def _token(name: str, kind: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": kind}}


def _sequence(name: str, kind: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": kind}}
