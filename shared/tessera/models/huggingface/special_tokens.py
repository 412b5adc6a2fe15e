"""Which special tokens a checkpoint states, in which of its files. Needs no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.generation import read_ends
from tessera.models.tasks import kind_of
from tessera.text.special import ROLES, find_special, without_end

_KEYS = {"start": "bos_token_id", "end": "eos_token_id", "pad": "pad_token_id"}
"""What `config.json` and `generation_config.json` call the tokens that they name."""

_COMMON = {"pad": ("pad_token",), "mask": ("mask_token",), "unknown": ("unk_token",)}
_READING = {"start": ("cls_token", "bos_token"), "end": ("sep_token", "eos_token")}
_WRITING = {"start": ("bos_token", "cls_token"), "end": ("eos_token", "sep_token")}
"""What `tokenizer_config.json` calls them, in order, where a model first reads or only writes."""

_NAMES = tuple(f"{kind}_token" for kind in ("bos", "eos", "cls", "sep", "pad", "mask", "unk"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTokens:
    """What the files of a tokenizer state.

    Args:
        vocabulary: the id of every token.
        names: of special tokens, by what transformers calls them.
        unknown: the token that the vocabulary itself falls back to; empty: there is none.
    """

    vocabulary: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""

    def first(self, *keys: str) -> str:
        """The first of the names that the vocabulary has; empty without any."""
        found = (self.names.get(key, "") for key in keys)
        return next((name for name in found if name in self.vocabulary), "")


def read_names(*files: Mapping[str, Any]) -> dict[str, str]:
    """Names of special tokens, by what transformers calls them.

    Args:
        files: contents of `tokenizer_config.json` and `special_tokens_map.json`; the first that
            names one is right.

    Raises:
        TypeError: a name is no text.
    """
    found: dict[str, str] = {}
    for values in files:
        for key in _NAMES:
            token = values.get(key)
            name = token.get("content") if isinstance(token, Mapping) else token
            if name is None:
                continue
            if not isinstance(name, str):
                raise TypeError(f"{key} is no text")
            found.setdefault(key, name)
    return found


def resolve(
    config: ModelConfig, values: Any, generation: Any, named: NamedTokens | None
) -> tuple[ModelConfig, list[str]]:
    """A config with the special tokens of its checkpoint, and notes.

    The numbers of `config.json` and `generation_config.json` come first, then the names that the
    tokenizer's files state, then names that are well known.

    Args:
        config: with what the numbers say, or the defaults of its class.
        values: of `config.json`.
        generation: what it says about writing, as `generation.read` finds it.
        named: what the tokenizer's files state; None: there is no tokenizer.

    Raises:
        InvalidArgumentError: TOKENIZER_WITHOUT_END: nothing says which token ends a text.
    """
    ids = dict(config.special_ids)
    ends = [token for token in _ends(values, generation) if 0 <= token < config.target_vocab_size]
    notes = []
    for role, key in _KEYS.items():
        limit = config.vocab_size if role == "pad" else config.target_vocab_size
        stated = _is_stated(values, generation, key)
        strange = ids.get(role, -1) >= limit
        if stated and strange:
            notes.append(
                f"{key} {ids[role]} is no token of the model, which has {limit}: it is not followed"
            )
        if strange or not (stated or named is None):
            ids.pop(role, None)
    if ends:
        ids.setdefault("end", ends[0])
    if named is not None:
        ids = {**_by_name(config, named, ids), **ids}
        ends.append(named.vocabulary.get(named.first("eos_token"), -1))
        if "end" not in ids:
            raise without_end()
    end = ids.get("end", -1)
    others = [token for token in ends if kind_of(config.task).writes and token not in {end, -1}]
    changed = replace(
        config,
        **{f"{role}_id": ids.get(role, -1) for role in ROLES},  # type: ignore[arg-type]
        other_end_ids=tuple(dict.fromkeys(others)),
        suppress_ids=tuple(t for t in config.suppress_ids if t not in {end, *others}),
    )
    return changed, notes


def _by_name(config: ModelConfig, named: NamedTokens, ids: Mapping[str, int]) -> dict[str, int]:
    """Ids of the roles by names, those first that the tokenizer's files state."""
    frame = _WRITING if config.encoder is None or config.family == "transformer" else _READING
    names = {role: named.first(*keys) for role, keys in {**frame, **_COMMON}.items()}
    # What stands for text that cannot be written is decided by the vocabulary itself.
    names["unknown"] = named.unknown or names["unknown"]
    by_id = {number: name for name, number in named.vocabulary.items()}
    names.update({role: by_id.get(number, "") for role, number in ids.items()})
    special = find_special(named.vocabulary, names)
    roles = {role: getattr(special, role) for role in ROLES}
    found = {role: named.vocabulary[name] for role, name in roles.items() if name}
    return {role: number for role, number in found.items() if number < config.vocab_size}


def _ends(values: Any, generation: Any) -> tuple[int, ...]:
    """All tokens that end a text, as the numbers of the files say."""
    inner = values.get("decoder") or {}
    return read_ends(values.get("eos_token_id", inner.get("eos_token_id")), generation)


def _is_stated(values: Any, generation: Any, key: str) -> bool:
    """Whether one of the files says something of a token, and not only its class."""
    return any(
        part is not None and part.get(key) is not None
        for part in (values, generation, values.get("decoder"), values.get("encoder"))
    )
