"""Folders of transformers and sentence-transformers, imported as a version and exported again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tokenizers
import torch
import transformers as hf
from tokenizers import normalizers, pre_tokenizers, processors

from tessera.client import imports
from tessera.client.export import _replace
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.models.huggingface.catalog import choose
from tessera.models.huggingface.files import files
from tessera.models.huggingface.kept import read_kept
from tessera.models.registry import build, family, load_config
from tessera.models.tokenizer import tokenizer_file
from tessera.text.special import SpecialTokens
from tessera.text.training import train

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

TEXTS = ["the cat sat on the mat", "Der Hund sagt: Größe 42!", "naïve dogs, a CAT and 日本 🙂"]


def imported(folder):
    """A folder as a version would hold it: its assets, its arrays, and the notes."""
    source = imports.read(Path(folder))
    arrays = {
        entry.ours: np.concatenate(
            [entry.from_theirs(source.parts[name].read()) for name in entry.theirs]
        )
        for entry in source.entries
    }
    assets = {"config.json": source.config.to_json().encode()}
    if source.tokenizer is not None:
        assets |= source.kept.assets(source.tokenizer)
    return SimpleNamespace(source=source, arrays=arrays, assets=assets, notes=source.notes)


def loaded(version):
    """What a replica makes of it."""
    config = load_config(version.assets["config.json"])
    module = build(config).eval()
    with torch.no_grad():
        for name, array in version.arrays.items():
            module.get_parameter(name).copy_(torch.from_numpy(np.array(array)))
    known, asset = family(config.family), version.assets.get("tokenizer.json")
    words = None
    if asset is not None:
        words = tokenizer_file(config, asset).load(bare=known.bare, starts=known.starts)
    return LoadedModel(
        set="default/theirs", version=1, config=config, module=module, tokenizer=words
    )


def exported(version, folder):
    """The folder that an export makes of it."""
    config = load_config(version.assets["config.json"])
    architecture = choose(config)
    content = files(
        architecture,
        config,
        version.assets.get("tokenizer.json"),
        "float32",
        read_kept(version.assets),
    )
    tensors = architecture.plan(config).to_theirs(version.arrays)
    _replace(Path(folder), content, tensors, "float32")
    return Path(folder)


def vocabulary(kind, names, *, lowercase=False, size=330):
    """The library's tokenizer of a kind, with special tokens of any names, and no frame."""
    made = train(kind, iter(TEXTS * 20), size, SpecialTokens(**names), lowercase=lowercase)
    made._inner.encode_special_tokens = False
    return made._inner


def framed(inner, before, after):
    """With special tokens around a text, and around two."""
    ids = {name: inner.token_to_id(name) for name in (before, after) if name}
    one = " ".join(filter(None, [before, "$A", after]))
    inner.post_processor = processors.TemplateProcessing(
        single=one, pair=f"{one} $B:1" + (f" {after}:1" if after else ""),
        special_tokens=list(ids.items()),
    )  # fmt: skip
    return inner


def words(names):
    """A tokenizer of whole words, which are what is listed."""
    numbers = {word: number for number, word in enumerate(names)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token=names[0]))
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return inner


def fast(inner, **settings):
    """Transformers' tokenizer."""
    return hf.PreTrainedTokenizerFast(tokenizer_object=inner, **settings)
