"""Models of transformers as ours, and ours as a folder of theirs."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from hypothesis import HealthCheck, Phase, settings
from safetensors.numpy import save_file

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


def load(source):
    """Our module with the weights of a folder, and its arrays by their names."""
    pieces = Pieces(source.parts, imports.PUSH_BYTES, source.dtype)
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


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
