"""Buffers of a version stand in an exported folder bit for bit, and come back by an import."""

from __future__ import annotations

import buffered
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from versions import Writer, content, read

from tessera import errors
from tessera.models.buffers import kept_tensors
from tessera.models.config import ModelConfig
from tessera.models.huggingface import bert, catalog
from tessera.models.huggingface.names import linear
from tessera.models.huggingface.tensors import Entry
from tessera.models.inputs import Inputs
from tessera.models.registry import FAMILIES, build
from tessera.torch_dtypes import dtype_name
from tessera.trainer.step.parallel import flat_bytes

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("parameters")]

LABELS = ("bad", "good")
SIZES = {"layers": 1, "heads": 2, "width": 32, "context": 16}
SHAPES = {
    **{f"norm.{name}": (32,) for name in ("weight", "bias", "running_mean", "running_var")},
    "norm.num_batches_tracked": (),
    "seen": (7,),
    "total": (3, 2),
    "brief": (32,),
    "phase": (4,),
    "small": (5,),
    "tiny": (),
    "wide": (600, 1000),
    "empty": (0, 3),
}
"""What the head has beside its projection."""


class Toy(bert.Bert):
    """A BERT with the head of the toy family."""

    family = model_type = buffered.NAME

    def read(self, values, generation):
        del generation
        values = values.over(bert.DEFAULTS)
        return ModelConfig(
            family=self.family,
            vocab_size=values["vocab_size"],
            encoder=bert.read_stack(values),
            tie_embeddings=values["tie_word_embeddings"],
            task=FAMILIES[self.family].task(labels=tuple(values["labels"])),
            pad_id=values["pad_token_id"],
        )

    def write(self, config):
        return {
            **bert.write_stack(config.encoder, config.vocab_size, config.pad_id),
            "model_type": self.model_type,
            "tie_word_embeddings": config.tie_embeddings,
            "labels": list(config.task.labels),
        }

    def misfits(self, config):
        del config
        yield from ()

    def _head(self, config):
        head = "heads.classes"
        yield from linear(f"{head}.projection", "classifier", (len(config.task.labels), 32))
        for name, shape in SHAPES.items():
            kept = name in buffered.KEPT
            yield Entry(ours=f"{head}.{name}", shape=shape, theirs=(f"count.{name}",), buffer=kept)


@pytest.fixture(scope="module", autouse=True)
def registered():
    buffered.register()
    toy = Toy("ToyForCounting")
    catalog.register(toy)
    yield toy
    del catalog.ARCHITECTURES[toy.name]
    buffered.forget()


@pytest.fixture(scope="module")
def trained():
    """A model whose buffers have moved, as training moves them."""
    family = FAMILIES[buffered.NAME]
    config = family.config(SIZES, family.task(labels=LABELS), vocab_size=20, pad_id=0)
    torch.manual_seed(5)
    module = build(config).train()
    with torch.no_grad():
        for _ in range(4):
            module(Inputs(torch.randint(20, (3, 9))))
    return config, module


def commit(platform, name, config, tensors):
    """A version of tensors."""
    found = {}
    for tensor_name, tensor in tensors.items():
        # Elements of so many bytes, whatever they are.
        raw = flat_bytes(tensor).numpy().view(f"V{tensor.element_size()}").reshape(tensor.shape)
        found |= content({tensor_name: raw}, dtype=dtype_name(tensor.dtype))
    assets = {"config.json": config.to_json().encode()}
    Writer(platform, name, job=f"job-{name}").commit(found, assets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back(dtype, client, platform, trained, tmp_path):
    """The weights in one element type, each buffer in its own."""
    config, module = trained
    tensors = {
        name: tensor.to(dtype) if isinstance(tensor, torch.nn.Parameter) else tensor
        for name, tensor in kept_tensors(module).items()
    }
    name = f"buffers-{dtype}".replace("torch.", "")
    commit(platform, name, config, tensors)
    done = client.export(name, tmp_path / "out")
    assert not done.notes
    stored = load_file(done.folder / "model.safetensors")
    assert len(stored) == done.tensors
    for key in SHAPES:
        ours, theirs = tensors[f"heads.classes.{key}"], stored[f"count.{key}"]
        assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
        assert torch.equal(flat_bytes(theirs), flat_bytes(ours)), key
    back = client.import_model(done.folder, f"{name}-back")
    assert not [note for note in back.notes if "tokenizer" not in note]
    coordinator, token = client._coordinator, client._connection.token
    before, after = (read(coordinator, token, one) for one in (name, f"{name}-back"))
    assert before[1].keys() == after[1].keys()
    for key, data in before[1].items():
        kind, again = (manifest.group("model")[key].dtype for manifest, _ in (before, after))
        assert kind == again
        assert np.array_equal(data, after[1][key]), key
    assert client.diff(name, f"{name}-back").same == len(tensors)


def test_an_element_type_that_no_file_has(client, platform, trained, tmp_path):
    config, module = trained
    tensors = dict(kept_tensors(module))
    tensors["heads.classes.phase"] = tensors["heads.classes.phase"].to(torch.complex128)
    commit(platform, "buffers-wide", config, tensors)
    with pytest.raises(errors.FailedPreconditionError, match=r"`count\.phase` is of .* C128") as no:
        client.export("buffers-wide", tmp_path / "out")
    assert no.value.reason == "UNSUPPORTED_DTYPE"
    assert not (tmp_path / "out").exists()


def test_a_family_without_an_architecture_cannot_be_exported(
    registered, client, platform, trained, tmp_path
):
    config, module = trained
    commit(platform, "buffers-own", config, kept_tensors(module))
    del catalog.ARCHITECTURES[registered.name]
    try:
        with pytest.raises(errors.FailedPreconditionError, match="holds a toy_buffered") as no:
            client.export("buffers-own", tmp_path / "out")
    finally:
        catalog.register(registered)
    assert no.value.reason == "EXPORT_UNSUPPORTED"


def test_a_name_is_taken_once(registered):
    with pytest.raises(ValueError, match="ToyForCounting"):
        catalog.register(registered)
