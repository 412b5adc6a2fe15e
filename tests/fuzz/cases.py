"""Cases: a number becomes a call, always the same one where the platform has said the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tessera.api.controller.v1 import (
    access_pb2,
    attempt_pb2,
    deployment_pb2,
    job_pb2,
    node_pb2,
    pool_pb2,
    queue_pb2,
    registry_pb2,
    usage_pb2,
)
from tessera.api.inference.v1 import inference_pb2
from tessera.api.parameters.v1 import coordinator_pb2, shard_pb2
from tessera.api.trainer.v1 import trainer_pb2
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Principal

from .callers import Callers, Metadata
from .messages import Hint, Maker, broken
from .world import BLOBS, MODELS, TENSORS, Opened, World, pushed

FILES = (
    access_pb2, attempt_pb2, coordinator_pb2, deployment_pb2, health_pb2, inference_pb2, job_pb2,
    node_pb2, pool_pb2, queue_pb2, reflection_pb2, registry_pb2, shard_pb2, trainer_pb2, usage_pb2,
)  # fmt: skip
SELDOM = {
    "RegisterPool": 0.1, "RotateKeys": 0.02, "CreateDeployment": 0.4, "DeleteDeployment": 0.3,
    "OpenVersion": 3.0, "SealVersion": 2.0, "CommitVersion": 2.0, "AbortVersion": 0.4,
    "Embed": 0.5, "Translate": 0.4, "Answer": 0.4, "Score": 0.5, "Drain": 0.3, "PutBlob": 0.6,
    "DeleteSet": 0.2, "DrainShard": 0.3, "RemoveShard": 0.3, "CopyPieces": 0.5,
}  # fmt: skip
"""How often methods come, of the times that another one would: some take long, some lead on."""


METHODS: dict[str, list[MethodDescriptor]] = {
    service.full_name: list(service.methods)
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
}
"""Every method of every service, by service."""
PATHS = {f"/{s}/{m.name}": m for s, found in METHODS.items() for m in found}

VERSIONED = frozenset(
    ("SealVersion", "CommitVersion", "AbortVersion", "GetManifest", "PinVersion", "ReleasePin",
     "PushSlices", "PersistVersion", "DropVersion", "OpenVersion", "VerifyVersion", "ReadHeld",
     "VerifyHeld", "RecordVersion", "RecordHead", "RollbackSet", "CopyPieces", "PullPiece",
     "OpenPieces", "ShareMemory")
)  # fmt: skip
ANSWERS = {
    "Generate": ("tiny",), "Translate": ("translator",), "Classify": ("stars", "names"),
    "FillMask": ("words",), "Answer": ("reader",), "Embed": ("meaning",),
    "Score": ("tiny", "translator"),
}  # fmt: skip
"""Which models answer a method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A call.

    Args:
        number: of the case.
        method: `/package.Service/Method`.
        how: which kind of message it is.
        who: calls.
        caller: the same for people, and what it shows.
        server: which of several of that service.
        metadata: what it shows.
        messages: what it sends, encoded.
        requests: the same as messages; None where what is sent is none.
        seconds: its deadline.
        cut: messages after which the caller is gone; None: it stays.
        reads: answers that it reads; None: all that come.
    """

    number: int
    method: str
    how: str
    who: Principal
    caller: str
    server: int
    metadata: Metadata
    messages: tuple[bytes, ...]
    requests: tuple[Message, ...]
    seconds: float
    cut: int | None
    reads: int | None

    def describe(self) -> dict[str, Any]:
        """For people, and to send it again."""
        sent = [raw.hex() for raw in self.messages]
        shown = [f"{request}"[:4000] for request in self.requests]
        return {
            "number": self.number, "method": self.method, "how": self.how, "caller": self.caller,
            "claims": self.who.claims(), "server": self.server, "cut": self.cut,
            "reads": self.reads, "seconds": self.seconds, "messages": sent, "text": shown,
        }  # fmt: skip

    @staticmethod
    def of(described: Mapping[str, Any], shown: Callable[[Principal], Metadata]) -> Case:
        """The case that `describe` tells of; its caller shows a valid token."""
        who = Principal.of(described["claims"])
        sent = tuple(bytes.fromhex(raw) for raw in described["messages"])
        same = {name: described[name] for name in _SAME}
        return Case(who=who, metadata=shown(who), messages=sent, requests=(), **same)


_SAME = ("number", "method", "how", "caller", "server", "cut", "reads", "seconds")


class Cases:
    """Makes cases.

    Args:
        seed: of all chance.
        world: names that there are.
        callers: who calls.
        weights: of methods.
    """

    def __init__(
        self, seed: int, world: World, callers: Callers, weights: Mapping[str, float] = SELDOM
    ) -> None:
        self._seed = seed
        self._world = world
        self._callers = callers
        self._services = [
            (found, [weights.get(method.name, 1.0) for method in found])
            for found in METHODS.values()
        ]

    def case(self, number: int) -> Case:
        """The case of a number."""
        random = Random(self._seed << 40 | number)
        found, weights = random.choice(self._services)
        (method,) = random.choices(found, weights)
        path = f"/{method.containing_service.full_name}/{method.name}"
        label, who, metadata, opened = self._caller(path, method.name, random)
        server = random.randrange(len(MODELS))
        if method.name in ANSWERS and random.random() < 0.9:
            server = MODELS.index(random.choice(ANSWERS[method.name]))
        hint = self._world.hint(who, path, MODELS[server])
        how, messages, requests = self._sent(method, hint, opened, random)
        streams = method.client_streaming or method.server_streaming
        cut = random.randrange(len(messages) + 1) if random.random() < 0.08 else None
        seconds = 5.0
        if method.name in {"Leave", "WatchJob", "WatchSet", "Watch", "StreamLogs", "StreamMetrics"}:
            seconds = 0.05
        elif random.random() < 0.04:
            seconds = random.choice((0.0005, 0.002, 0.01))
        return Case(
            number=number,
            method=path,
            how=how,
            who=who,
            server=server,
            caller=f"{who} of {who.tenant or 'the platform'} ({label})",
            metadata=metadata,
            messages=messages,
            requests=requests,
            seconds=seconds,
            cut=cut,
            reads=random.choice((0, 1, 3)) if streams and random.random() < 0.2 else None,
        )

    def _caller(
        self, path: str, name: str, random: Random
    ) -> tuple[str, Principal, Metadata, Opened | None]:
        """Who calls; of a version that is open, mostly who opened it."""
        label, who, metadata = self._callers.pick(path, random)
        opened = self._world.pick("opened", random) if name in VERSIONED else None
        writer = self._world.pick("writer", random) if name == "OpenVersion" else None
        if label == "right" and random.random() < 0.7:
            if writer is not None:
                opened = Opened(writer[0], 0, writer[1], "", writer[2])
            if opened is not None and opened.who.role in TABLE[path].roles:
                who = opened.who
                metadata = self._callers.shown(who)
        return label, who, metadata, opened

    def _sent(
        self,
        method: MethodDescriptor,
        hint: Hint,
        opened: Opened | None,
        random: Random,
    ) -> tuple[str, tuple[bytes, ...], tuple[Message, ...]]:
        maker = Maker(random, hint)
        kind, chance = method.input_type, random.random()
        special = self._special(method, maker, opened, random) if random.random() < 0.7 else None
        if special is None:
            count = random.choice((1, 1, 1, 2, 3)) if method.client_streaming else 1
            special = [maker.good(kind) for _ in range(count)]
        if chance < 0.64:
            how, made = "good", special
        elif chance < 0.78:
            how, made = "near", [*special[:-1], maker.near(kind)]
        elif chance < 0.85:
            how, made = "wild", [maker.wild(kind)]
        else:
            return (
                "broken",
                tuple(_break([m.SerializeToString(deterministic=True) for m in special], random)),
                (),
            )
        messages = tuple(message.SerializeToString(deterministic=True) for message in made)
        if random.random() < 0.02:
            return "count", random.choice(((), messages * 2)), ()
        return how, messages, tuple(made)

    def _special(
        self, method: MethodDescriptor, maker: Maker, opened: Opened | None, random: Random
    ) -> list[Message] | None:
        """Messages that belong together, or to what was before."""
        match method.name:
            case "PutBlob":
                content = random.choice(BLOBS)
                digest = hashlib.sha256(content).hexdigest()
                self._world.hear("digest", digest)
                half = len(content) // 2
                return [
                    pool_pb2.PutBlobRequest(digest=digest, data=content[:half]),
                    pool_pb2.PutBlobRequest(data=content[half:]),
                ]
            case "PushSlices" if opened is not None:
                return pushed(opened, random.randrange(2))
            case "PushSlices":
                target = maker.good(shard_pb2.PushTarget.DESCRIPTOR)
                return [shard_pb2.PushSlicesRequest(target=target), maker.good(method.input_type)]
            case "ExchangeTicket":
                ticket = self._world.pick("ticket", random)
                return [registry_pb2.ExchangeTicketRequest(ticket=ticket)] if ticket else None
        if opened is None:
            return None
        request = maker.good(method.input_type)
        if method.name == "ShareMemory":
            request.target.set, request.target.grant = opened.set, opened.grant
            return [request]
        request.set = opened.set
        if method.name == "OpenVersion" and not request.tensors:
            request.tensors.extend(TENSORS)
        if method.name == "RecordVersion":
            request.manifest.version.set = opened.set
            request.manifest.version.number = opened.version
        if method.name == "RecordHead":
            request.move.version = opened.version
        for name in ("version", "epoch"):
            if name in method.input_type.fields_by_name:
                setattr(request, name, getattr(opened, name))
        return [request]


def encoded(message: Message) -> bytes:
    """The same bytes in every process: pairs of maps would have an order of their own in each."""
    return message.SerializeToString(deterministic=True)


def _break(messages: list[bytes], random: Random) -> Iterator[bytes]:
    """Break one of some messages."""
    bad = random.randrange(len(messages)) if messages else -1
    for index, raw in enumerate(messages):
        yield broken(raw, random) if index == bad else raw
