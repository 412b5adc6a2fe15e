"""Fixtures of the client and the command line: a platform in this process, and models on it.

A small GPT with random weights is committed as `default/tiny`, version 1, and served as `tiny`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from in_process import InProcessPlatform
from versions import Writer, content

from tessera.api.controller.v1.deployment_pb2 import DeploymentSpec
from tessera.client import Client
from tessera.models.inputs import Inputs, Outputs
from tessera.models.registry import FAMILIES, build
from tessera.text import special
from tessera.text.training import train

STARS = ("bad", "fair", "good")
TAGS = ("other", "name")
TEXT = "def add(a, b):\n    return a + b\n\n\nclass Größe:\n    '''Maß → 尺寸 🙂'''\n" * 4


class Published:
    """A small model with random weights, its tokenizer, and how its versions are committed."""

    def __init__(self, platform, name, family, tokenizer, *, context=64, **task) -> None:
        self.platform = platform
        self.name = name
        self.tokenizer = tokenizer
        sizes = {"context": context, "layers": 2, "heads": 4, "width": 32}
        mask = tokenizer.mask_id
        self.config = FAMILIES[family].config(
            sizes,
            FAMILIES[family].task(**task),
            vocab_size=tokenizer.vocab_size,
            start_id=tokenizer.start_id,
            end_id=tokenizer.end_id,
            pad_id=tokenizer.pad_id,
            mask_id=-1 if mask is None else mask,
        )
        torch.manual_seed(1)
        self.module = build(self.config).eval()
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)

    @torch.inference_mode()
    def outputs(self, ids, **inputs) -> Outputs:
        """What the model says of one sequence."""
        others = {name: torch.tensor([value]) for name, value in inputs.items()}
        return self.module(Inputs(torch.tensor([ids]), **others))

    def logits(self, ids, **inputs) -> torch.Tensor:
        return self.outputs(ids, **inputs).logits[0]

    def publish(self, step=7) -> int:
        arrays = {n: p.detach().numpy() for n, p in self.module.named_parameters()}
        assets = {
            "config.json": self.config.to_json().encode(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
        writer = Writer(self.platform, self.name, ranks=1)
        version = writer.commit(content(arrays), assets, step=step, labels={"loss": "2"})
        writer.client.close()
        return version.number

    def serve(self, client):
        """Deploy version 1, and answer with a replica in this process."""
        client.deployments.create(DeploymentSpec(name=self.name, model=f"{self.name}@1"))
        return self.platform.run(self.platform.replica(self.name))


@pytest.fixture(scope="session")
def platform(tmp_path_factory) -> Iterator[InProcessPlatform]:
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="session")
def parameters(platform) -> None:
    """The parameter service."""
    platform.start_parameters()


@pytest.fixture(scope="session")
def tiny(platform, parameters) -> Published:
    """One committed version of a GPT."""
    tokenizer = train("byte_bpe", iter([TEXT]), 320, special.GPT)
    tiny = Published(platform, "tiny", "gpt", tokenizer)
    tiny.publish()
    return tiny


@pytest.fixture(scope="session")
def served(platform, tiny) -> Iterator[Published]:
    """With a replica that serves it, at version 1."""
    with Client(home=platform.home) as client:
        replica = tiny.serve(client)
        client.deployments.wait("tiny", 30)
    yield tiny
    platform.run(replica.stop(1))


@pytest.fixture(scope="session")
def zoo(platform, served) -> Iterator[dict[str, Published]]:
    """A served model of each kind, by name."""
    bert = train("wordpiece", iter([TEXT]), 200, special.BERT)
    seq2seq = train("byte_bpe", iter([TEXT]), 300, special.SEQ2SEQ)
    made = [
        Published(platform, "translator", "transformer", seq2seq, kind="translation"),
        Published(platform, "hybrid", "bert_gpt", bert, kind="joint"),
        Published(platform, "words", "bert", bert, kind="masked_language_modeling"),
        Published(platform, "stars", "bert", bert, kind="classification", labels=STARS),
        Published(platform, "names", "bert", bert, kind="token_classification", labels=TAGS),
        Published(platform, "reader", "bert", bert, kind="question_answering"),
        Published(platform, "meaning", "bert", bert, kind="sentence_embedding"),
    ]
    with Client(home=platform.home) as client:
        for model in made:
            model.publish()
        replicas = [model.serve(client) for model in made]
        for model in made:
            client.deployments.wait(model.name, 30)
    yield {model.name: model for model in [*made, served]}
    for replica in replicas:
        platform.run(replica.stop(1))


@pytest.fixture
def client(platform) -> Iterator[Client]:
    with Client(home=platform.home, patience=2) as client:
        yield client
