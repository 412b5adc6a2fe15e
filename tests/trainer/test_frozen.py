"""Which weights learn: those that no name freezes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.models.lora_config import LoRAConfig
from tessera.trainer.failure import UserError
from training import make_tuning

_WEIGHTS = st.lists(
    st.sampled_from([
        ("trunk.encoder.embeddings.tokens.weight", "heads.masked.projection.weight"),
        ("trunk.encoder.blocks.0.attention.qkv.weight",),
        ("trunk.encoder.blocks.0.attention.qkv.lora_a",),
        ("trunk.decoder.embeddings.positions.weight",),
        ("trunk.decoder.blocks.1.mlp.up.weight",),
        ("heads.masked.dense.weight",),
    ]),
    min_size=1,
    unique=True,
)  # fmt: skip


_PARTS = {
    "encoder": lambda name: name.startswith("trunk.encoder."),
    "decoder": lambda name: name.startswith("trunk.decoder."),
    "embeddings": lambda name: ".embeddings." in name,
    "trunk": lambda name: name.startswith("trunk."),
    "heads": lambda name: name.startswith("heads."),
    "trunk.decoder.b": lambda name: name.startswith("trunk.decoder.b"),
}


@given(
    _WEIGHTS,
    st.lists(st.sampled_from(list(_PARTS)), max_size=2),
    st.sampled_from(["full", "lora"]),
    st.integers(0, 1),
)
def test_what_is_named_does_not_learn_and_all_else_does(weights, freeze, method, steps):
    lora = LoRAConfig() if method == "lora" else None
    tuning = make_tuning(lora=lora, freeze=tuple(freeze), freeze_steps=steps)
    named = {names[0] for names in weights for part in freeze if any(map(_PARTS[part], names))}
    base = {
        names[0]
        for names in weights
        if method == "lora" and names[0].startswith("trunk.") and "lora_" not in names[0]
    }
    vain = [part for part in freeze if not any(map(_PARTS[part], itertools.chain(*weights)))]
    if vain or len(named | base) == len(weights):
        with pytest.raises(UserError) as caught:
            tuning.fixed(weights)
        reason = "FREEZE_MATCHES_NOTHING" if vain else "NOTHING_LEARNS"
        assert caught.value.reason == reason
        return
    assert tuning.fixed(weights) == (base if steps else named | base)
    assert tuning.frozen_at_start(weights) == (named - base if steps else set())
