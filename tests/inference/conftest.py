"""Small models, and the plainest way to run them: the whole sequence again for every token."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch

from tessera.inference.engine.model import LoadedModel
from tessera.models.config import GPTConfig
from tessera.models.gpt import GPT
from tessera.text.tokenizer import Tokenizer, train_byte_bpe

TEXT = "def add(a, b):\n    return a + b\n\n\nclass Größe:\n    '''Maß → 尺寸 🙂'''\n" * 4
CONTEXT = 64


@cache
def tokenizer() -> Tokenizer:
    return train_byte_bpe(iter([TEXT]), 320)


@cache
def model(version: int = 1, *, context: int = CONTEXT, layers: int = 2) -> LoadedModel:
    """A model with random weights, livelier than freshly initialised ones."""
    torch.manual_seed(version)
    config = GPTConfig(
        vocab_size=tokenizer().vocab_size, context=context, layers=layers, heads=4, width=32
    )
    module = GPT(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return LoadedModel(
        set="default/tiny", version=version, config=config, module=module, tokenizer=tokenizer()
    )


@torch.inference_mode()
def naive(loaded: LoadedModel, prompt: tuple[int, ...], count: int) -> list[int]:
    """Greedy tokens after a prompt."""
    tokens = list(prompt)
    for _ in range(count):
        logits = loaded.module(torch.tensor([tokens]))[0, -1]
        tokens.append(int(logits.argmax()))
        if tokens[-1] == loaded.end_id:
            break
    return tokens[len(prompt) :]


@torch.inference_mode()
def naive_logprobs(
    loaded: LoadedModel, prompt: tuple[int, ...], written: tuple[int, ...]
) -> list[float]:
    """Log-probabilities of the tokens after a prompt."""
    tokens = torch.tensor([[*prompt, *written]])
    scores = torch.log_softmax(loaded.module(tokens)[0].float(), dim=-1)
    first = len(prompt) - 1
    return [float(scores[first + i, token]) for i, token in enumerate(written)]


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions of this file; test files cannot import one another."""
    return SimpleNamespace(
        model=model, tokenizer=tokenizer, naive=naive, naive_logprobs=naive_logprobs, text=TEXT
    )
