"""What holds for the models of every family, whatever their choices."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tessera.models.inputs import Inputs
from tessera.models.lora import LoRALinear
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES, build
from tessera.models.tasks import kind_of

_path = Path(__file__).parent / "test_config.py"
_spec = importlib.util.spec_from_file_location("model_configs", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
model_configs = _module.model_configs

few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 1000)
LENGTH = 8


def built(config, seed):
    torch.manual_seed(seed)
    module = build(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def batch(config, seed, *, hidden=True):
    """Rows of several lengths, filled up on the right, and what a decoder has written."""
    generator = torch.Generator().manual_seed(seed)

    def words(count, length):
        return torch.randint(0, count, (3, length), generator=generator)

    lengths = torch.randint(1, LENGTH + 1, (3, 1), generator=generator)
    return Inputs(
        tokens=words(config.vocab_size, LENGTH),
        mask=torch.arange(LENGTH) < lengths,
        segments=words(2, LENGTH) if config.encoder and config.encoder.segments else None,
        decoder_tokens=words(config.target_vocab_size, LENGTH - 1),
        masked_tokens=words(config.vocab_size, LENGTH) if hidden else None,
    )


def same(found, expected, mask):
    """Whether two outputs are, of tokens the real ones."""
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            tokens = one.dim() == 3 and one.shape[1] == mask.shape[1]
            torch.testing.assert_close(
                one[mask] if tokens else one, other[mask] if tokens else other, atol=1e-5, rtol=1e-4
            )


@few
@given(config=model_configs(["bert", "transformer", "bert_gpt"]), seed=seeds)
@torch.inference_mode()
def test_without_padding_it_computes_the_same(config, seed):
    module, inputs = built(config, seed), batch(config, seed)
    index = inputs.mask.flatten().nonzero().flatten()
    same(module(inputs._replace(index=index)), module(inputs), inputs.mask)


@few
@given(config=model_configs(["bert", "transformer", "bert_gpt"]), seed=seeds)
@torch.inference_mode()
def test_what_fills_up_a_row_changes_nothing(config, seed):
    module, inputs = built(config, seed), batch(config, seed)
    noise = torch.randint_like(inputs.tokens, config.vocab_size)
    other = inputs._replace(
        tokens=inputs.tokens.where(inputs.mask, noise),
        masked_tokens=inputs.masked_tokens.where(inputs.mask, noise),
    )
    same(module(inputs), module(other), inputs.mask)


@few
@given(
    config=model_configs(["gpt", "transformer", "bert_gpt"]), seed=seeds, place=st.integers(1, 6)
)
@torch.inference_mode()
def test_a_decoder_sees_what_stands_before(config, seed, place):
    assume("language" in kind_of(config.task).head_names)
    assume(config.width > 2)  # Of two numbers a norm leaves no more than which one is larger.
    module, inputs = built(config, seed), batch(config, seed)
    name = "tokens" if config.encoder is None else "decoder_tokens"
    changed = getattr(inputs, name).clone()
    changed[:, place:] = (changed[:, place:] + 1) % config.target_vocab_size
    before = module(inputs).logits
    after = module(inputs._replace(**{name: changed})).logits
    torch.testing.assert_close(before[:, :place], after[:, :place], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(before[:, place:], after[:, place:])


@few
@given(config=model_configs(["gpt", "transformer", "bert_gpt"]), seed=seeds)
@torch.inference_mode()
def test_a_decoder_gives_the_same_step_by_step(config, seed):
    assume("language" in kind_of(config.task).head_names)
    module, inputs = built(config, seed), batch(config, seed, hidden=False)
    decoder, tokens = module.trunk.decoder, inputs.decoder_tokens
    memory, mask = None, None
    if module.trunk.encoder is None:
        tokens = inputs.tokens
    else:
        memory = module.trunk.encoder(inputs.tokens, inputs.mask, inputs.segments)
        mask = inputs.mask
    whole = decoder(tokens, memory=memory, memory_mask=mask)
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def attend(layer, q, k, v):
        if layer in kept:
            k, v = (torch.cat(pair, dim=1) for pair in zip(kept[layer], (k, v), strict=True))
        kept[layer] = (k, v)
        groups = q.shape[-2] // k.shape[-2]
        keys, values = (part.repeat_interleave(groups, dim=-2) for part in (k, v))
        weights = torch.einsum("bthd,bshd->bhts", q, keys) / q.shape[-1] ** 0.5
        return torch.einsum("bhts,bshd->bthd", weights.softmax(-1), values)

    for step in range(tokens.shape[1]):
        positions = torch.full((len(tokens), 1), step)
        one = decoder(
            tokens[:, step : step + 1], positions, memory=memory, memory_mask=mask, attend=attend
        )
        torch.testing.assert_close(one[:, 0], whole[:, step], atol=1e-5, rtol=1e-4)


@few
@given(config=model_configs(), seed=seeds, places=st.lists(st.integers(0, 20), min_size=1))
@torch.inference_mode()
def test_logits_can_be_asked_for_at_places_only(config, seed, places):
    module, inputs = built(config, seed), batch(config, seed)
    at = torch.tensor(places)
    whole, some = module(inputs), module(inputs._replace(at=at, masked_at=at))
    for name in ("logits", "masked"):
        head = "language" if name == "logits" else "masked"
        if head in kind_of(config.task).head_names:
            expected = getattr(whole, name).flatten(0, 1)[at]
            torch.testing.assert_close(getattr(some, name), expected, atol=1e-5, rtol=1e-4)


@few
@given(config=model_configs(), seed=seeds)
@torch.inference_mode()
def test_adapters_change_nothing_at_first_and_can_be_merged(config, seed):
    plain = built(config, seed)
    adapted = build(replace(config, lora=LoRAConfig(rank=2, alpha=3.0))).eval()
    missing, unexpected = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert missing
    assert all(name.endswith(("lora_a", "lora_b")) for name in missing)
    inputs = batch(config, seed)
    same(adapted(inputs), plain(inputs), inputs.mask)
    layers = {n: m for n, m in adapted.named_modules() if isinstance(m, LoRALinear)}
    for layer in layers.values():
        layer.lora_b.normal_(std=0.5)
    merged = {f"{name}.weight": layer.merged() for name, layer in layers.items()}
    plain.load_state_dict({**plain.state_dict(), **merged})
    same(adapted(inputs), plain(inputs), inputs.mask)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_new_model_is_nearly_indifferent(name):
    torch.manual_seed(0)
    family = FAMILIES[name]
    config = family.config(family.presets[next(iter(family.presets))], vocab_size=300)
    module, inputs = build(config).eval(), batch(config, 0)
    with torch.inference_mode():
        found = module(inputs)
    for logits in (found.logits, found.masked):
        if logits is not None:
            others = torch.randint(0, 300, logits.shape[:2])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), others.flatten())
            assert abs(loss.item() - np.log(300)) < 0.5
