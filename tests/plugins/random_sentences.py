"""Folders of sentence-transformers over models of transformers, with all that is followed drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from tessera.inference.engine import pooling_runner
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.bounds import Bounds
from tessera.inference.tasks.embed import Embed, Prompt
from tessera.inference.tasks.text_input import TextInput

BOUNDS = Bounds(BlockManager(64, 4), BlockManager(64, 4))
_ACTIVATIONS = (torch.nn.Tanh, torch.nn.Identity, torch.nn.ReLU, torch.nn.GELU, torch.nn.SiLU,
                torch.nn.Sigmoid)  # fmt: skip
_PROMPTS = ("query: ", "Größe ", "the cat ", "")


def embedded(model, texts, prompt=Prompt()):  # noqa: B008
    """Our vectors of texts."""
    task = Embed([TextInput(text=text) for text in texts], prompt)
    works = task.prepare(model, BOUNDS)
    with torch.inference_mode():
        return task.finish(pooling_runner.read(model.module, works, torch.device("cpu")))


def sentences(folder, *modules, **settings):
    """A folder within that of a model, with modules of sentence-transformers after it."""
    first = Transformer(str(folder), **{k: settings.pop(k) for k in ("do_lower_case",)
                                        if k in settings})  # fmt: skip
    model = SentenceTransformer(modules=[first, *modules], device="cpu", **settings)
    model.save(str(folder / "whole"))
    return folder / "whole"


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """What follows a model, and how it is asked."""

    pooling: dict[str, Any]
    layers: list[dict[str, Any]]
    normalize: bool
    settings: dict[str, Any]
    asked: dict[str, str]

    def save(self, folder, width, seed):
        """A folder as sentence-transformers writes it, of one of transformers."""
        torch.manual_seed(seed)
        modules = [Pooling(width, **self.pooling)]
        for layer in self.layers:
            options = {**layer, "activation_function": layer["activation_function"]()}
            modules.append(Dense(width, **options))
            width = layer["out_features"]
        modules += [Normalize()] * self.normalize
        return sentences(folder, *modules, **self.settings)


@st.composite
def sentence_modules(draw):
    """Pooling, layers, prompts."""
    layer = st.fixed_dictionaries(
        {
            "out_features": st.sampled_from([6, 24]),
            "bias": st.booleans(),
            "activation_function": st.sampled_from(_ACTIVATIONS),
            "use_residual": st.booleans(),
        }
    )
    prompts = draw(
        st.dictionaries(st.sampled_from(["query", "passage", "STS"]), st.sampled_from(_PROMPTS),
                        max_size=2)
    )  # fmt: skip
    name = st.sampled_from([None, *prompts])
    asked = draw(st.sampled_from(["nothing", "name", "text"]))
    given = {"name": draw(name), "text": draw(st.sampled_from(_PROMPTS))}.get(asked)
    keys = {"name": "prompt_name", "text": "prompt"}
    return Sentences(
        pooling={
            "pooling_mode": draw(st.sampled_from(Pooling.POOLING_MODES)),
            "include_prompt": draw(st.booleans()),
        },
        layers=draw(st.lists(layer, max_size=2)),
        normalize=draw(st.booleans()),
        settings={
            "do_lower_case": draw(st.booleans()),
            "prompts": prompts,
            "default_prompt_name": draw(name),
            "similarity_fn_name": draw(st.sampled_from([None, "cosine", "dot"])),
        },
        asked={} if given is None else {keys[asked]: given},
    )
