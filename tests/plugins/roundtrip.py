"""Models of transformers, imported and exported again, and compared each time."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tessera.client import imports
from tessera.client.pieces import Pieces
from tessera.models import registry
from tessera.models.huggingface.catalog import choose
from tessera.models.huggingface.files import files

few = functools.partial(
    settings,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],
)
hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

IGNORED = {"_name_or_path", "transformers_version", "use_cache", "initializer_range", "init_std"}


def randomized(model, seed):
    """Weights large enough that a mistake shows, biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue  # A table of sinusoids.
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def saved(model, folder, **changes):
    model.save_pretrained(folder)
    if changes:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return Path(folder)


def load(source):
    """Our module with the weights of a folder, and its arrays by their names."""
    pieces = Pieces(source.parts, imports.PUSH_BYTES)
    arrays = {
        entry.ours: np.concatenate([array for _, array in pieces.of(entry)])
        for entry in source.entries
    }
    module = registry.build(source.config).eval()
    own = dict(module.named_parameters())
    shapes = {n: tuple(p.shape) for n, p in own.items()}
    known = {e.ours: e.shape for e in source.entries}
    assert shapes == known, shapes.items() ^ known.items()
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.array(arrays[name])))
    return module, arrays


def written(config, arrays, folder):
    """The folder that an export makes, its tokenizer aside."""
    architecture = choose(config)
    folder = Path(folder)
    for name, content in files(architecture, config, None, "float32").items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    save_file(architecture.plan(config).to_theirs(arrays), folder / "model.safetensors")
    return folder


def check(model, compare, *, blank=(), lost=(), **changes):
    """Import a model of theirs, compare, export it, load that with transformers, compare again."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        source = imports.read(saved(model, first, **changes))
        module, arrays = load(source)
        with torch.inference_mode():
            compare(module, model)
        folder = written(source.config, arrays, second)
        before, after = (
            load_file(f"{first}/model.safetensors"),
            load_file(folder / "model.safetensors"),
        )
        for name in blank:
            assert not after.pop(name).any()
        before = {name: array for name, array in before.items() if name not in {*blank, *lost}}
        assert before.keys() == after.keys(), before.keys() ^ after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        again, info = type(model).from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), info
        old, new = model.config.to_dict(), again.config.to_dict()
        for values in (old, new):
            for part in (values, values.get("encoder", {}), values.get("decoder", {})):
                for key in IGNORED:
                    part.pop(key, None)
        with torch.inference_mode():
            compare(module, again.eval())
        return source, old, new


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@st.composite
def bert_configs(draw, **fixed):
    heads = draw(st.sampled_from([1, 2, 4]))
    return hf.BertConfig(
        vocab_size=draw(st.integers(5, 40)),
        hidden_size=heads * draw(st.sampled_from([2, 4, 8])),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=heads,
        intermediate_size=draw(st.integers(1, 40)),
        max_position_embeddings=draw(st.integers(8, 20)),
        type_vocab_size=draw(st.integers(1, 3)),
        hidden_act=draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        layer_norm_eps=draw(st.sampled_from([1e-12, 1e-5])),
        hidden_dropout_prob=draw(st.sampled_from([0.0, 0.25])),
        attention_probs_dropout_prob=draw(st.sampled_from([0.0, 0.5])),
        **{"pad_token_id": draw(st.sampled_from([0, 3])), **fixed},
    )


@st.composite
def gpt2_configs(draw, **fixed):
    heads = draw(st.sampled_from([1, 2, 4]))
    vocab_size = draw(st.integers(5, 40))
    return hf.GPT2Config(
        vocab_size=vocab_size,
        n_layer=draw(st.integers(1, 3)),
        n_inner=draw(st.sampled_from([None, 1, 24])),
        n_positions=draw(st.integers(8, 20)),
        activation_function=draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        layer_norm_epsilon=draw(st.sampled_from([1e-6, 1e-5])),
        resid_pdrop=0.25,
        embd_pdrop=0.25,
        attn_pdrop=draw(st.sampled_from([0.0, 0.5])),
        **{
            "n_embd": heads * draw(st.sampled_from([2, 4, 8])),
            "n_head": heads,
            "bos_token_id": vocab_size - 1,
            "eos_token_id": vocab_size - 1,
            "pad_token_id": vocab_size - 1,
            **fixed,
        },
    )
