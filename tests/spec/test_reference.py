"""One parser for `set@version`: whoever reads one takes and refuses the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, spec_pb2
from tessera.client.client import Client
from tessera.controller.peers.coordinator import CoordinatorClient
from tessera.inference.replica import to_served
from tessera.spec.check import check
from tessera.spec.reference import parse_reference, parse_set
from tessera.trainer.versions.starting_point import ParameterStore, find_starting_point

TENANT = "team"
GOOD = {
    "gpt": ("gpt", 0),
    "gpt@3": ("gpt", 3),
    "team/gpt@3": ("gpt", 3),
    "team/gpt": ("gpt", 0),
    "a" * 63 + "@" + "9" * 18: ("a" * 63, 10**18 - 1),
    "0-1": ("0-1", 0),
}
BAD = (
    "", "@3", "gpt@", "gpt@0", "gpt@x", "gpt@-1", "gpt@03", "gpt@1.0", "gpt@1@2", "gpt@ 1", "GPT@3",
    "g p t", "gpt ", " gpt", "gpt\n", "gpt@3\n", "-gpt", "gpt-", "a" * 64, "gpt@" + "1" * 19,
    "../x",
    "/gpt", "a/b/c", "a//b", "gpt@\u0661", "gpt@\uff13", "gpt\u200b", "gpü", "gpt:3", "gpt#3",
)  # fmt: skip


class Asked:
    """A coordinator that notes what it is asked for."""

    def __init__(self):
        self.read = None

    def acquire_writer(self, *_):
        return SimpleNamespace(resume=None)

    def get_pinned(self, name, version, *_):
        self.read = (name, version)
        raise errors.NotFoundError("nothing is here")


def of_spec(text):
    """`model.init.from` of a spec, whose limits are the same wherever it is checked."""
    spec = spec_pb2.JobSpec(model=spec_pb2.ModelSpec(family="gpt"))
    setattr(spec.model.init, "from", text)
    try:
        check(spec)
    except errors.InvalidArgumentError as error:
        if any(problem.field == "model.init.from" for problem in error.violations):
            raise
    reference = parse_reference(text)
    return f"{TENANT}/{reference.set_of(TENANT, 'x')}", reference.version


def of_client(text):
    asked = []
    client = Client.__new__(Client)
    client._connection = SimpleNamespace(tenant=TENANT, token="")
    client._coordinator = SimpleNamespace(list_versions=lambda name: asked.append(name) or [])
    client._reach = lambda: None
    client.versions(text)
    return asked[0], parse_reference(text).version


async def of_controller(text):
    asked = []

    async def versions(full, _name, _field, wanted):
        asked.append((full, wanted))
        return {wanted, 1}

    coordinator = CoordinatorClient.__new__(CoordinatorClient)
    coordinator._versions = versions
    await coordinator.check(TENANT, text, "spec.model")
    return asked[0]


def of_replica(text):
    deployment = deployment_pb2.Deployment(name=f"deployments/{TENANT}/d")
    deployment.spec.model = text
    served = to_served(deployment)
    return served.set, served.version


def of_trainer(text):
    asked = Asked()
    store = ParameterStore(coordinator=asked, token="", tenant=TENANT, job="j", attempt=1)
    settings = SimpleNamespace(
        init=text, init_encoder="", init_decoder="", publish_set="s", publish_keep=1
    )
    ranks = SimpleNamespace(on_main=lambda work: work())
    try:
        find_starting_point(store, settings, ranks)
    except errors.TesseraError as error:
        if error.reason != "INIT_NOT_FOUND":
            raise
    return asked.read


async def answers(text):
    """What each reader makes of it: a set and a version, or its reason."""
    every = {}
    readers = (of_spec, of_client, of_controller, of_replica, *([of_trainer] if text else []))
    for reader in readers:
        try:
            value = reader(text)
            every[reader.__name__] = await value if hasattr(value, "__await__") else value
        except errors.InvalidArgumentError as error:
            every[reader.__name__] = error.reason
    return every


@pytest.mark.parametrize("text", GOOD)
async def test_every_reader_takes_it(text):
    name, version = GOOD[text]
    assert set((await answers(text)).values()) == {(f"{TENANT}/{name}", version)}


@pytest.mark.parametrize("text", [text for text in BAD if text])
async def test_every_reader_refuses_it(text):
    assert set((await answers(text)).values()) == {"INVALID_REFERENCE"}


@given(
    st.text(st.sampled_from("ab0-@/9 A\n."), max_size=12)
    | st.from_regex(r"([a-z/]{1,5})(@[0-9]{0,3})?", fullmatch=True)
)
@example("a@1")
async def test_readers_agree(text):
    if text and (not text.partition("/")[2] or text.startswith(f"{TENANT}/")):
        assert len(set((await answers(text)).values())) == 1, text


@pytest.mark.parametrize("text", GOOD)
def test_it_is_written_as_it_was_read(text):
    assert str(parse_reference(text)) == text


def test_a_set_of_another_tenant_is_named_by_nobody():
    reference = parse_reference("theirs/gpt@3")
    assert reference.full_name(TENANT) == "theirs/gpt"
    with pytest.raises(errors.InvalidArgumentError, match="tenant `theirs`") as caught:
        reference.set_of(TENANT, "model")
    assert (caught.value.reason, caught.value.violations[0].field) == ("INVALID_REFERENCE", "model")


@pytest.mark.parametrize("text", ["gpt@1", "t/gpt", "", "GPT", "a" * 64, "gpt\n"])
def test_a_set_to_write_is_a_plain_name(text):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        parse_set(text)
    assert caught.value.reason == "INVALID_REFERENCE"
