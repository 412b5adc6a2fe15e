"""Models of transformers as we load them."""

from __future__ import annotations

import numpy as np
import torch

from tessera.client import checked_folder
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.models.registry import build, family
from tessera.models.tokenizer import tokenizer_file


def fill(module, source):
    """Put the weights of a folder into our module."""
    with torch.no_grad():
        for entry in source.entries:
            parts = [entry.from_theirs(source.parts[name].read()) for name in entry.theirs]
            whole = torch.from_numpy(np.array(np.concatenate(parts)))
            module.get_parameter(entry.ours).copy_(whole)


def ours(theirs, folder):
    """Their model as we load it, with the tokenizer that is in the folder."""
    theirs.save_pretrained(folder)
    source = checked_folder.read(folder)
    module = build(source.config).eval()
    fill(module, source)
    asset, known = source.tokenizer, family(source.config.family)
    return LoadedModel(
        set="default/theirs",
        version=1,
        config=source.config,
        module=module,
        tokenizer=None
        if asset is None
        else tokenizer_file(source.config, asset).load(bare=known.bare, starts=known.starts),
    )
