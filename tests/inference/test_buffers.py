"""A replica has the persistent buffers of a version bit for bit, and computes the other ones."""

from __future__ import annotations

from types import SimpleNamespace

import buffered
import numpy as np
import pytest
import torch
import xxhash
from versions import Writer, content

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.device import Device
from tessera.inference.weights import Loader
from tessera.models.buffers import kept_tensors
from tessera.models.inputs import Inputs
from tessera.models.registry import FAMILIES, build
from tessera.torch_dtypes import dtype_name
from tessera.trainer.versions.layout import to_bytes
from tessera.weights.coordinator import Coordinator

from .replicas import active

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def registered():
    buffered.register()
    yield
    buffered.forget()


@pytest.fixture
def trained(tiny):
    """A model whose buffers have moved, as training moves them."""
    words = tiny.tokenizer(buffered.NAME)
    family = FAMILIES[buffered.NAME]
    sizes = {"layers": 1, "heads": 2, "width": 32, "context": 64}
    config = family.config(
        sizes,
        family.task(buffered.TASK, labels=("a", "b")),
        vocab_size=words.vocab_size,
        start_id=words.start_id,
        end_id=words.end_id,
        pad_id=words.pad_id,
    )
    torch.manual_seed(5)
    module = build(config).train()
    with torch.no_grad():
        for _ in range(4):
            module(Inputs(torch.randint(words.vocab_size, (3, 9))))
    return SimpleNamespace(config=config, module=module.eval(), words=words)


def kept(module):
    """What a version keeps, in its order: spec and bytes."""
    return {
        spec: data
        for name, tensor in kept_tensors(module).items()
        for spec, data in content(
            {name: to_bytes(tensor).view(numpy_of(tensor)).reshape(tensor.shape)},
            dtype=dtype_name(tensor.dtype),
        ).items()
    }


def numpy_of(tensor):
    return np.dtype(f"V{tensor.element_size()}")


def commit(platform, name, trained, tensors=None, views=()):
    assets = {
        "config.json": trained.config.to_json().encode(),
        "tokenizer.json": trained.words.to_json(),
    }
    writer = Writer(platform, name, job=f"job-{name}")
    writer.views = dict(views)
    return writer.commit(tensors or kept(trained.module), assets)


def loader(platform, name):
    return Loader(
        Coordinator(platform.address, platform.token),
        platform.token,
        set_name=f"default/{name}",
        owner="test",
        device=Device.for_accelerator(""),
    )


def test_what_is_loaded_is_what_was_committed(platform, trained):
    commit(platform, "buffers-loaded", trained)
    module = loader(platform, "buffers-loaded").load(1).module
    ours, theirs = kept_tensors(module), kept_tensors(trained.module)
    assert list(ours) == list(theirs)
    assert buffered.NAMES.keys() < ours.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert to_bytes(ours[name]).tobytes() == to_bytes(tensor).tobytes(), name
    head = module.heads["classes"]
    assert head.twin is head.total
    assert torch.equal(head.scale, torch.full((32,), 0.5))
    assert not any(buffer.is_meta for buffer in module.buffers())


def test_what_is_held_in_views_is_loaded_and_verified(platform, trained):
    theirs = kept_tensors(trained.module)
    views = {
        name: (2, len(tensor) // 2, *tensor.shape[1:])
        for name, tensor in theirs.items()
        if tensor.ndim and len(tensor) % 4 == 0
    }
    assert views
    commit(platform, "views-loaded", trained, views=views)
    ours = kept_tensors(loader(platform, "views-loaded").load(1).module)
    for name, tensor in theirs.items():
        assert to_bytes(ours[name]).tobytes() == to_bytes(tensor).tobytes(), name


async def test_a_replica_answers_with_them_and_hashes_them(platform, serve, trained):
    commit(platform, "buffers-served", trained)
    platform.deploy("buffers-served", "buffers-served@1")
    client = await serve("buffers-served")
    await client.until(active(1))
    for text in ("def add", "return a + b"):
        request = pb.ClassifyRequest(model=client.model, inputs=[pb.Input(text=text)])
        reply = await client.inference.Classify(request, metadata=client.metadata, timeout=30)
        tokens = [trained.words.start_id, *trained.words.encode(text), trained.words.end_id]
        with torch.inference_mode():
            expected = trained.module(Inputs(torch.tensor([tokens]))).logits[0].softmax(-1)
        (one,) = reply.classifications
        assert one.labels[0].probability == pytest.approx(expected.max().item(), rel=1e-4)
    found = await client.steering.GetDigests(
        pb.GetDigestsRequest(), metadata=client.metadata, timeout=30
    )
    digests = {digest.box.tensor: digest.checksum for digest in found.digests}
    assert digests == {
        name: xxhash.xxh3_64_intdigest(to_bytes(tensor).data)
        for name, tensor in kept_tensors(trained.module).items()
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("lacks", "the version lacks tensor `heads.classes.seen`"),
        ("strange", "the model does not know tensor `heads.classes.scale`"),
        ("recast", "`heads.classes.seen` is of type U8, not BOOL"),
    ],
)
def test_a_version_with_other_buffers_is_unfit(change, why, platform, trained):
    tensors = kept(trained.module)
    seen = next(spec for spec in tensors if spec.name == "heads.classes.seen")
    if change == "strange":
        tensors |= content({"heads.classes.scale": np.zeros(32, np.float32)})
    else:
        raw = tensors.pop(seen)
        if change == "recast":
            tensors |= content({seen.name: raw}, dtype="U8")
    name = f"buffers-{change}"
    commit(platform, name, trained, tensors)
    with pytest.raises(errors.FailedPreconditionError, match=why) as caught:
        loader(platform, name).load(1)
    assert caught.value.reason == "VERSION_UNFIT"


def test_buffers_may_be_of_another_type_of_weights(platform, trained):
    """As the norms of a model are that was converted to bfloat16 as a whole."""
    tensors = kept(trained.module)
    mean = next(spec for spec in tensors if spec.name.endswith("running_mean"))
    del tensors[mean]
    narrow = trained.module.heads["classes"].norm.running_mean.bfloat16()
    tensors |= content({mean.name: narrow.view(torch.int16).numpy()}, dtype="BF16")
    commit(platform, "buffers-narrow", trained, tensors)
    found = loader(platform, "buffers-narrow").load(1).module
    assert torch.equal(found.heads["classes"].norm.running_mean, narrow)
