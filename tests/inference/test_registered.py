"""A family and a task that only this file knows: one call each, and they are trained and served."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest
import torch
import torch.distributed as dist
from google.protobuf import json_format
from torch import nn

from tessera import errors
from tessera.api.controller.v1 import job_pb2, job_pb2_grpc
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.device import Device
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.classify import ClassifiedText as Told
from tessera.inference.tasks.classify import LabelScore
from tessera.inference.tasks.text_input import read
from tessera.inference.weights import Loader
from tessera.models import registry, tasks
from tessera.models.family import Family
from tessera.models.head import Head, Per
from tessera.models.inputs import Inputs
from tessera.models.sizes import sizes
from tessera.models.states import States
from tessera.models.tasks import TaskKind, count_parameters
from tessera.rpc.channel import bearer, mapped_errors
from tessera.rpc.channel import channel as open_channel
from tessera.spec import json_schema
from tessera.text.special import GPT, SEQ2SEQ
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.in_memory_reporter import InMemoryReporter
from tessera.trainer.rank import no_blobs
from tessera.trainer.ranks import Ranks
from tessera.trainer.run import Run
from tessera.trainer.spec import settings_of_json
from tessera.trainer.tasks.classification import Classification
from tessera.trainer.tasks.task import LossTerm
from tessera.trainer.versions.starting_point import ParameterStore
from tessera.weights.coordinator import Coordinator

from .replicas import active

pytestmark = pytest.mark.processes

NOUNS = ("cat", "dog", "bird", "fish", "cow", "hen", "fox", "owl")
CLASSES = [
    {"text": f"{first} {second}", "label": "bird" if "hen" in {first, second} else "none"}
    for first in NOUNS
    for second in NOUNS
]


def look_back(trunk, inputs):
    """Every token also sees the first state of its text."""
    states = trunk.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
    return States(read=states + states[:, :1])


def go_on(trunk, inputs):
    states = trunk.decoder(inputs.tokens)
    return States(read=states, written=states)


READER = Family(
    name="toy_reader",
    run=look_back,
    offers=frozenset({tasks.READS, tasks.SEES_ALL}),
    default_task=tasks.MASKED,
    special=SEQ2SEQ,
    tokenizer="character",
    starts=False,
    encoder={"norm_order": "post"},
    pooling="mean",
    presets={"toy": sizes(1, 32, 2, 32)},
)
WRITER = Family(
    name="toy_writer",
    run=go_on,
    offers=frozenset({tasks.CONTINUES}),
    default_task=tasks.LANGUAGE,
    special=GPT,
    decoder={"norm": "rms"},
    presets={"toy": sizes(1, 32, 2, 32)},
)


class Peak(nn.Module):
    """Logits of a text: of each class the largest that any token has."""

    def __init__(self, config, _trunk):
        super().__init__()
        self.projection = nn.Linear(config.width, tasks.outputs(config.task))

    def forward(self, hidden, mask):
        logits = self.projection(hidden)
        if mask is not None:
            logits = logits.masked_fill(~mask[..., None], -torch.inf)
        return logits.amax(dim=1)


class Margin(Classification):
    """The right class is to lead by 1."""

    def __init__(self, settings):
        super().__init__(settings, terms=(LossTerm(name="margin"),))

    def losses(self, outputs, batch):
        loss = nn.functional.multi_margin_loss
        return loss(outputs.logits, batch.targets["classes"], reduction="sum")[None]


class Leader:
    """Answers with the class that leads, and by how much."""

    method = "Classify"

    def __init__(self, asked):
        self._inputs = asked.inputs

    def prepare(self, model, bounds):
        self._labels = model.config.task.labels
        texts = [read(model, given, "inputs", bounds.reading(model)) for given in self._inputs]
        return [PoolingInput(head="peak", tokens=text.tokens) for text in texts]

    def finish(self, results):
        orders = [np.argsort(-logits) for logits in results]
        return [
            Told(labels=(LabelScore(self._labels[o[0]], float(r[o[0]] - r[o[1]])),))
            for o, r in zip(orders, results, strict=True)
        ]


PEAK = Head(
    name="peak",
    module=f"{__name__}:Peak",
    per=Per.TEXT,
    output="logits",
    weights=lambda config, rows: (config.width + 1) * rows,
    labelled=True,
)
TASK = TaskKind(
    name="toy_margin",
    heads=(PEAK,),
    needs=frozenset({tasks.READS}),
    trainer=f"{__name__}:Margin",
    methods=("Classify",),
    answers={"Classify": f"{__name__}:Leader"},
    fields=("labels",),
    roles=("text", "label"),
)


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.register(READER)
    registry.register(WRITER)
    tasks.register(TASK)
    yield
    del registry.FAMILIES["toy_reader"], registry.FAMILIES["toy_writer"], tasks.TASKS["toy_margin"]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("tmp"))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Ranks(rank=0, world_size=1, local_rank=0)
    dist.destroy_process_group()
    tempfile.tempdir = before


def submit(platform, document):
    """The spec as the controller accepts it."""
    with open_channel(platform.address) as opened, mapped_errors():
        reply = job_pb2_grpc.JobServiceStub(opened).CreateJob(
            job_pb2.CreateJobRequest(spec=json_format.ParseDict(document, JobSpec())),
            metadata=bearer(platform.token),
            timeout=20,
        )
    return reply.job.spec


def document(name, folder, family, task):
    """A small job on a file of its own."""
    classes = task in {"classification", "toy_margin"}
    path = folder / (f"{name}.jsonl" if classes else f"{name}.txt")
    lines = [json.dumps(row) if classes else row["text"] for row in CLASSES * 4]
    held_out = path.with_stem(f"{name}-held-out")
    for file in (path, held_out):
        file.write_text("\n".join(lines) + "\n")
    return {
        "name": name,
        "model": {"family": family, "layers": 1, "heads": 2, "width": 32, "context": 32},
        "task": {"kind": task},
        "tokenizer": {"vocab_size": 300},
        "data": {"files": [f"file://{path}"], "validation_files": [f"file://{held_out}"],
                 **({"columns": {"text": "text", "label": "label"}} if classes else {})},
        "train": {"steps": 60, "batch_size": 16, "lr": 0.005, "eval_every": 60, "log_every": 1,
                  "sequence_length": 16},
        "publish": {"every": 60},
    }  # fmt: skip


def train(platform, ranks, spec):
    """Run an accepted spec in this process; its loss falls."""
    name = spec.name
    token = platform.attempt_token(name, writes=f"default/{spec.publish.set}")
    reporter = InMemoryReporter()
    Run(
        settings=settings_of_json(json_format.MessageToJson(spec)),
        ranks=ranks,
        device=Device.for_accelerator(""),
        reporter=reporter,
        commands=CommandQueue(),
        store=ParameterStore(
            coordinator=Coordinator(platform.address, token),
            token=token,
            tenant="default",
            job=name,
            attempt=1,
        ),
        read_blob=no_blobs,
    ).execute()
    losses = [values["loss"] for _, values in reporter.metrics if "loss" in values]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:3])


@pytest.fixture
def served(platform, ranks, serve, tmp_path):
    """Trains, commits and deploys; gives a client, and the committed model."""

    async def start(family, task):
        name = f"{family}-{task}".replace("_", "-")
        spec = submit(platform, document(name, tmp_path, family, task))
        assert (spec.model.family, spec.task.kind) == (family, task)
        train(platform, ranks, spec)
        platform.deploy(name, f"{name}@1")
        client = await serve(name)
        await client.until(active(1))
        loader = Loader(
            Coordinator(platform.address, platform.token),
            platform.token,
            set_name=f"default/{name}",
            owner="test",
            device=Device.for_accelerator(""),
        )
        return client, loader.load(1)

    return start


async def ask(client, method, **fields):
    request = getattr(pb, f"{method}Request")(model=client.model, **fields)
    with mapped_errors():
        return await getattr(client.inference, method)(
            request, metadata=client.metadata, timeout=30
        )


@torch.inference_mode()
def outputs(model, text):
    """What the module says of one text, framed as the family frames it."""
    ids = model.tokenizer.encode(text)
    before = () if model.config.family == "toy_reader" else (model.start_id,)
    return model.module(Inputs(torch.tensor([[*before, *ids, model.end_id]])))


async def test_an_own_family_has_the_tasks_that_others_have(served):
    client, model = await served("toy_reader", "classification")
    assert model.config.task.pooling == "mean"
    assert model.config.encoder.norm_order == "post"
    texts = ["hen owl", "fox owl"]
    reply = await ask(client, "Classify", inputs=[pb.Input(text=text) for text in texts])
    best = [one.labels[0] for one in reply.classifications]
    assert [each.label for each in best] == ["bird", "none"]
    for text, each in zip(texts, best, strict=True):
        expected = outputs(model, text).logits.softmax(-1).max().item()
        assert each.probability == pytest.approx(expected, rel=1e-4)


async def test_an_own_family_tells_hidden_tokens(served):
    client, model = await served("toy_reader", "masked_language_modeling")
    reply = await ask(client, "FillMask", inputs=[pb.Input(text="f<mask>x")], top_k=1)
    (hidden,) = reply.texts[0].masks
    ids = model.tokenizer.encode_marked("f<mask>x")
    said = model.module(Inputs(torch.tensor([[*ids, model.end_id]]))).masked
    assert hidden.candidates[0].token == said[0, ids.index(model.mask_id)].argmax().item()


async def test_an_own_family_goes_on_with_texts(served):
    client, model = await served("toy_writer", "language_modeling")
    prompt = tuple(model.tokenizer.encode("hen"))
    _, written = await client.generate(prompt, 6)
    tokens = list(prompt)
    for _ in range(len(written)):
        said = model.module(Inputs(torch.tensor([tokens]))).logits
        tokens.append(said[0, -1].argmax().item())
    assert tokens[len(prompt) :] == written


@pytest.mark.parametrize("family", ["toy_reader", "bert", "gpt"])
async def test_an_own_task_is_one_of_every_family_that_can_have_it(served, family):
    client, model = await served(family, "toy_margin")
    assert set(dict(model.module.heads.named_parameters())) == {
        "peak.projection.weight",
        "peak.projection.bias",
    }
    assert count_parameters(model.config) == sum(p.numel() for p in model.module.parameters())
    texts = ["hen owl", "fox owl dog"]
    reply = await ask(client, "Classify", inputs=[pb.Input(text=text) for text in texts])
    for text, one in zip(texts, reply.classifications, strict=True):
        (leader,) = one.labels
        values, order = outputs(model, text).logits[0].sort(descending=True)
        assert leader.label == model.config.task.labels[order[0]]
        assert leader.probability == pytest.approx((values[0] - values[1]).item(), rel=1e-4)
    described = await client.inference.GetModel(
        pb.GetModelRequest(model=client.model), metadata=client.metadata, timeout=5
    )
    assert (described.family, described.task) == (family, "toy_margin")
    assert list(described.methods) == ["Classify"]


def test_whoever_cannot_have_an_own_task_is_told_who_can(platform, tmp_path):
    with pytest.raises(errors.InvalidArgumentError, match="bert, bert_gpt, gpt, toy_reader") as no:
        submit(platform, document("no", tmp_path, "transformer", "toy_margin"))
    assert no.value.reason == "TASK_NOT_FOR_FAMILY"


def test_presets_and_the_schema_know_what_is_registered():
    schema = json_schema()["properties"]
    assert {"toy_reader", "toy_writer"} < set(schema["model"]["properties"]["family"]["enum"])
    assert "toy_margin" in schema["task"]["properties"]["kind"]["enum"]
    config = READER.config(READER.presets["toy"], vocab_size=50)
    assert registry.build(config).trunk.encoder.config.width == 32


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="toy_reader"):
        registry.register(READER)
    with pytest.raises(ValueError, match="toy_margin"):
        tasks.register(TASK)
