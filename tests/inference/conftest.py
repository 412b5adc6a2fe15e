"""Small models, and the plainest way to run them: the whole sequence again for every token."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from in_process import InProcessPlatform

from tessera.inference.engine.engine import Engine
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.settings import EngineSettings
from tessera.models.inputs import Inputs
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES, build
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train

from .replicas import Client
from .served import Served

TEXT = "def add(a, b):\n    return a + b\n\n\nclass Größe:\n    '''Maß → 尺寸 🙂'''\n" * 4
CONTEXT = 64


@cache
def tokenizer(family: str = "gpt") -> Tokenizer:
    return train("byte_bpe", iter([TEXT]), 320, FAMILIES[family].special)


@cache
def model(
    version: int = 1,
    *,
    family: str = "gpt",
    task: str = "",
    labels: tuple[str, ...] = (),
    multi_label: bool = False,
    pooling: str = "",
    named: bool = True,
    lora: bool = False,
    **sizes,
) -> LoadedModel:
    """A model with random weights, livelier than freshly initialised ones."""
    torch.manual_seed(version)
    words = tokenizer(family)
    chosen = {"layers": 2, "heads": 4, "width": 32, "context": CONTEXT, **sizes}
    choices = {"pooling": pooling} if pooling else {}
    config = FAMILIES[family].config(
        chosen,
        FAMILIES[family].task(task, labels=labels, multi_label=multi_label, **choices),
        vocab_size=words.vocab_size,
        start_id=words.start_id,
        end_id=words.end_id,
        pad_id=words.pad_id,
        mask_id=-1 if words.mask_id is None else words.mask_id,
        lora=LoRAConfig(rank=2) if lora else None,
    )
    module = build(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return LoadedModel(
        set="default/tiny",
        version=version,
        config=config,
        module=module,
        tokenizer=words if named else None,
    )


@torch.inference_mode()
def logits(loaded: LoadedModel, tokens, source=()) -> torch.Tensor:
    """[T, V] of next tokens; the source is what the encoder reads."""
    written = torch.tensor([tokens])
    if not source:
        return loaded.module(Inputs(written)).logits[0]
    return loaded.module(Inputs(torch.tensor([source]), decoder_tokens=written)).logits[0]


def naive(loaded: LoadedModel, prompt: tuple[int, ...], count: int, source=()) -> list[int]:
    """Greedy tokens after a prompt."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(logits(loaded, tokens, source)[-1].argmax()))
        if tokens[-1] == loaded.end_id:
            break
    return tokens[len(prompt) :]


def naive_logprobs(
    loaded: LoadedModel, prompt: tuple[int, ...], written: tuple[int, ...], source=()
) -> list[float]:
    """Log-probabilities of the tokens after a prompt."""
    scores = torch.log_softmax(logits(loaded, [*prompt, *written], source).float(), dim=-1)
    first = len(prompt) - 1
    return [float(scores[first + i, token]) for i, token in enumerate(written)]


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions of this file; test files cannot import one another."""
    return SimpleNamespace(
        model=model, tokenizer=tokenizer, naive=naive, naive_logprobs=naive_logprobs, text=TEXT
    )


@pytest.fixture
async def replica():
    """A replica that has its weights already; `start(**limits)` gives what a client needs."""
    served = Served(model())
    yield served
    await served.close()


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """With a parameter service, for replicas of its deployments."""
    with InProcessPlatform(tmp_path_factory.mktemp("platform")) as running:
        running.start_parameters()
        yield running


@pytest.fixture
async def serve(platform):
    """Starts replicas of deployments, and gives a client of each."""
    running = []

    async def start(name, on=platform):
        replica = await on.replica(name)
        client = Client(on, replica.address, name)
        running.append((client, replica))
        return client

    yield start
    for client, replica in running:
        await client.channel.close()
        await replica.stop(0.1)


@pytest.fixture
def start(tiny):
    """Starts engines and ends them."""
    engines = []

    def make(model=None, *, blocks=0, block_size=4, **limits):
        settings = EngineSettings(limits=Limits(**limits), block_size=block_size, blocks=blocks)
        engine = Engine(model or tiny.model(), settings)
        engine.start()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()
