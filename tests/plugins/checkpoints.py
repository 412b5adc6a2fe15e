"""Folders of transformers and sentence-transformers, imported as a version and exported again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tokenizers
import torch
import transformers as hf
from roundtrip import randomized
from tokenizers import normalizers, pre_tokenizers, processors

from tessera.client import checked_folder
from tessera.client.export import _replace
from tessera.inference.engine import pooling_runner
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.tasks.classify import Classify
from tessera.inference.tasks.text_input import TextInput
from tessera.models.huggingface.catalog import choose
from tessera.models.huggingface.files import files
from tessera.models.huggingface.kept import read_kept
from tessera.models.huggingface.origin import read_origin
from tessera.models.registry import build, family, load_config
from tessera.models.tokenizer import tokenizer_file
from tessera.text.special import SpecialTokens
from tessera.text.training import train

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

TEXTS = ["the cat sat on the mat", "Der Hund sagt: Größe 42!", "naïve dogs, a CAT and 日本 🙂"]


def imported(folder):
    """A folder as a version would hold it: its assets, its arrays, and the notes."""
    source = checked_folder.read(Path(folder))
    arrays = {
        entry.ours: np.concatenate(
            [entry.from_theirs(source.parts[name].read()) for name in entry.theirs]
        )
        for entry in source.entries
    }
    assets = {"config.json": source.config.to_json().encode()}
    if source.tokenizer is not None:
        assets |= source.kept.assets(source.tokenizer)
    if source.origin is not None:
        assets |= source.origin.assets()
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
        origin=read_origin(version.assets, config),
    )
    tensors = architecture.plan(config).to_theirs(version.arrays)
    _replace(Path(folder), content, tensors, dict.fromkeys(tensors, "float32"))
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


_NAMES = {"end": "[SEP]", "start": "[CLS]", "pad": "[PAD]", "unknown": "[UNK]"}


def reranker(folder, *, decoder=False, seed=0, **changes):
    """A folder with a model of transformers that gives one number; changes are of its config."""
    inner = framed(vocabulary("wordpiece", _NAMES), "[CLS]", "[SEP]")
    fast(inner, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
         model_max_length=64).save_pretrained(folder)  # fmt: skip
    size = inner.get_vocab_size()
    if decoder:
        config = hf.GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                               num_labels=1, pad_token_id=inner.token_to_id("[PAD]"),
                               eos_token_id=inner.token_to_id("[SEP]"))  # fmt: skip
        model = hf.GPT2ForSequenceClassification(config)
    else:
        config = hf.BertConfig(vocab_size=size, hidden_size=16, num_hidden_layers=2,
                               num_attention_heads=2, intermediate_size=32, num_labels=1,
                               max_position_embeddings=64)  # fmt: skip
        model = hf.BertForSequenceClassification(config)
    randomized(model, seed).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def scored(model, pairs):
    """What `Classify` says of texts and their pairs."""
    task = Classify([TextInput(text=text, pair=pair) for text, pair in pairs], 0)
    bounds = Bounds(BlockManager(64, 4), BlockManager(64, 4))
    works = task.prepare(model, bounds)
    with torch.inference_mode():
        found = task.finish(pooling_runner.read(model.module, works, torch.device("cpu")))
    assert all(not each.labels for each in found)
    return [each.score for each in found]
