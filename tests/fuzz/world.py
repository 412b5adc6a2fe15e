"""What is known of the platform under test: names that it was heard to say, and where they fit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

import xxhash
from google.protobuf import duration_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import manifest_pb2, shard_pb2
from tessera.rpc.principal import Principal, Role
from tessera.weights.descriptors import boot_id

REMEMBERED = 48
"""Of each kind, the newest."""
FEWER = {"attempt": 6, "job": 12}
"""Of these, for the others have ended."""
SETS = ("tiny", "words", "s0", "s1", "s2", "s3")
MODELS = ("tiny", "translator", "words", "stars", "names", "reader", "meaning")
"""Deployments that have replicas."""
BLOBS = tuple(bytes([n]) * (n * 1000) for n in range(4))
POOLS = ("local", "spare", "pool-a", "pool-b")
DRIVEN = Principal(
    subject="attempt:driven/1", role=Role.ATTEMPT, job="driven", attempt=1, writes="default/s0"
)
"""The attempt whose driver is there."""
TENSORS = [
    manifest_pb2.Tensor(group="model", name="w", shape=[4, 3], dtype="F32"),
    manifest_pb2.Tensor(group="optimizer", name="m", shape=[5], dtype="BF16"),
    manifest_pb2.Tensor(group="state", name="scalar", dtype="I64"),
]
_ENDPOINTS = {
    Role.COORDINATOR: (registry_pb2.ROLE_COORDINATOR, "coordinator"),
    Role.SHARD: (registry_pb2.ROLE_SHARD, "shard-7"),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A version that somebody has opened."""

    set: str
    version: int
    epoch: int
    grant: str
    who: Principal


class World:
    """Names by kind.

    Args:
        addresses: of servers, for endpoints and pools to have.
    """

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self._heard: dict[str, deque[Any]] = {}
        self._latest: dict[str, dict[str, Any]] = {"writer": {}, "opened": {}}

    def hear(self, kind: str, value: Any) -> None:
        if kind not in self._heard:
            most = FEWER.get(kind.partition(" ")[0], REMEMBERED)
            self._heard[kind] = deque(maxlen=most)
        if value and value not in self._heard[kind]:
            self._heard[kind].append(value)

    def pick(self, kind: str, random: Random) -> Any:
        """One of those that were heard; None: there is none. It takes as much chance either way."""
        chance = random.random()
        latest = self._latest.get(kind)
        known = list(latest.values()) if latest is not None else self._heard.get(kind)
        return known[int(chance * len(known))] if known else None

    def observe(self, method: str, who: Principal, request: Message, answer: Message) -> None:
        """Take in what an answer says."""
        name = method.rpartition("/")[2]
        if name == "AcquireWriter":
            self._latest["writer"][request.set] = (request.set, answer.epoch, who)
        elif name == "OpenVersion":
            opened = Opened(request.set, answer.version, request.epoch, answer.grant, who)
            self._latest["opened"][request.set] = opened
        elif name == "Register":
            self.hear("endpoint", (request.endpoint.name, request.endpoint.incarnation))
        elif name == "CreateToken":
            self.hear("secret", answer.secret)
        elif name in {"RenewToken", "ExchangeTicket"}:
            self.hear("secret", answer.token)
        if getattr(answer, "next_page_token", ""):
            self.hear(f"page of {name}", answer.next_page_token)
        self._walk(answer)

    def _walk(self, message: Message) -> None:
        match message.DESCRIPTOR.name:
            case "Job":
                self.hear("job", message.id)
                self.hear(f"job of {message.tenant}", message.id)
                for attempt in message.attempts:
                    self.hear("attempt", (message.id, attempt.number, message.tenant))
                return
            case "Deployment":
                _, tenant, name = message.name.split("/")
                self.hear("deployment", name)
                self.hear(f"deployment of {tenant}", name)
                return
            case "Token":
                self.hear("token", message.id)
            case "DigestQuery":
                self.hear("tensor", message.tensor)
            case "GetShardStatusResponse" | "ListHeldResponse":
                self.hear("store", message.store)
            case "Version":
                self.hear(f"version of {message.set}", message.number)
            case "Slice":
                self.hear("piece", (message.piece, message.offset, message.size))
        for field, value in message.ListFields():
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                continue
            for each in list(value)[:5] if field.is_repeated else [value]:
                self._walk(each)

    # --- where they fit ---

    def hint(self, caller: Principal, method: str, model: str) -> Any:
        """What fields of a caller's request should hold.

        Args:
            caller: whose it is.
            method: that is called.
            model: deployment of the replica that is called.
        """
        tenant = caller.tenant or "default"
        name = method.rpartition("/")[2]
        own = caller.writes or next(iter(caller.reads), "")

        def hint(kind: Descriptor, field: Field, random: Random) -> Any:
            found = self._of_field(f"{kind.name}.{field.name}", caller, name, random)
            if found is not None:
                return found
            match field.name:
                case "set" if field.cpp_type == Field.CPPTYPE_STRING:
                    if kind.name == "PublishSpec":
                        return random.choice(SETS)
                    return own or f"{tenant}/{random.choice(SETS)}"
                case "page_token":
                    return self.pick(f"page of {name}", random) or ""
                case "model" if kind.file.package.startswith("tessera.api.inference"):
                    return random.choice((model, f"deployments/default/{model}"))
                case "version" | "min_version" if field.message_type is None:
                    return random.choice((0, 1, 2, 3))
                case "tenant":
                    return random.choice(("", tenant))
                case "store":
                    return self.pick("store", random)
                case "digest" if field.type == Field.TYPE_STRING:
                    return self.pick("digest", random)
            return None

        return hint

    def _of_field(self, field: str, caller: Principal, name: str, random: Random) -> Any:
        shared = _SHARED.get(field)
        if shared is not None:
            return random.choice(shared)
        match field:
            case "AttemptRef.job" | "AcquireWriterRequest.job":
                return caller.job or self.pick("job", random)
            case "AttemptRef.attempt" | "AcquireWriterRequest.attempt":
                return caller.attempt or random.choice((1, 2, 3))
            case "Endpoint.role" | "HeartbeatRequest.role" | "DeregisterRequest.role":
                return _endpoint(caller)[0]
            case "Endpoint.name" | "HeartbeatRequest.name" | "DeregisterRequest.name":
                # Whoever takes the coordinator's place takes much of the platform out of reach.
                seldom = caller.role is Role.COORDINATOR and random.random() < 0.95
                return "a" if seldom else _endpoint(caller)[1]
            case "Endpoint.control_address" | "Endpoint.data_address":
                others = list(self.addresses.values())
                real = caller.role is Role.COORDINATOR and random.random() < 0.8
                return self.addresses["coordinator"] if real else random.choice(others)
            case "PullItem.piece":
                return (self.pick("piece", random) or ("", 0))[0]
            case "OpenPiecesRequest.pieces":
                return [(self.pick("piece", random) or ("a", 0))[0]]
            case "OpenPiecesRequest.boot_id" | "ShareMemoryRequest.boot_id":
                return boot_id()
            case "DigestQuery.tensor":
                return self.pick("tensor", random)
            case "Input.pair":
                return "" if random.random() < 0.8 else "a"
            case "Pool.dashboard_url":
                return random.choice((self.addresses["ray"], self.addresses["not ray"]))
            case "RevokeTokenRequest.id":
                return self.pick("token", random)
            case "RenewTokenRequest.token":
                return self.pick("secret", random)
        if field.endswith(("Request.name", ".job")):
            held = "deployment" if "Deployment" in field else "job"
            return self.pick(
                f"{held} of {caller.tenant}" if random.random() < 0.8 else held, random
            )
        return None


def _endpoint(caller: Principal) -> tuple[int, str]:
    """What a caller may say that it is."""
    if caller.role is Role.ATTEMPT:
        return registry_pb2.ROLE_TRAINER, caller.job
    if caller.role is Role.REPLICA:
        return registry_pb2.ROLE_REPLICA, f"{caller.deployment}/9"
    return _ENDPOINTS.get(caller.role, _ENDPOINTS[Role.SHARD])


_SHARED: dict[str, tuple[Any, ...]] = {
    "Endpoint.incarnation": ("one", "two"),
    "HeartbeatRequest.incarnation": ("one", "two"),
    "DeregisterRequest.incarnation": ("one", "two"),
    "Endpoint.build": ("0.1.0", "0.1.0", ""),
    "Pool.name": POOLS,
    "Pool.ray_address": ("127.0.0.1:6379", ""),
    "DeletePoolRequest.name": POOLS,
    "JobSpec.name": ("a", "b-1"),
    "JobSpec.queue": ("", "default"),
    "JobSpec.kind": ("", "train"),
    "ModelSpec.family": ("gpt", "bert", "transformer", "bert_gpt"),
    "InitSpec.from": ("tiny", "tiny@1", "s0"),
    "InitSpec.encoder": ("words@1", ""),
    "InitSpec.decoder": ("tiny@1", ""),
    "DataSpec.files": (["stdlib://**/*.py"], ["stdlib://*.py", "hf://a/b"], ["blob://" + "0" * 64]),
    "AcceleratorSpec.type": ("GPU", "H100"),
    "AcceleratorSpec.count": (1.0, 0.5, 2.0),
    "ResourcesSpec.workers": (1, 2, 3),
    "ResourcesSpec.cpus_per_worker": (0.5, 1.0, 2.0),
    "ResourcesSpec.memory_per_worker": ("", "1Gi", "512Mi"),
    "ResourcesSpec.min_workers": (1,),
    "DeploymentSpec.memory_per_replica": ("", "256Mi"),
    "DeploymentSpec.queue": ("", "default"),
    "AcceleratorSpec.topology": ("", "", "2x2"),
    "TopologySpec.within": ("host", "rack"),
    "Queue.name": ("q0", "q1", "default"),
    "Queue.parent": ("", "q0"),
    "Queue.tenants": ([], ["default"]),
    "DeleteQueueRequest.name": ("q0", "q1"),
    "UpdateNodeRequest.state": (1, 3, 4),
    "DeploymentSpec.name": (*MODELS, "d0", "d1"),
    "DeploymentSpec.model": ("tiny", "tiny@1", "words@1", "s0"),
    "DeploymentSpec.replicas": (1, 2),
    "DeploymentSpec.max_lag": (0, 3),
    "CreateTenantRequest.name": ("default", "b", "c"),
    "CreateTokenRequest.subject": ("ada-0", "ci@x"),
    "OpenVersionRequest.tensors": (TENSORS,),
    "GenerateRequest.max_tokens": (1, 2, 5),
    "TranslateRequest.max_tokens": (1, 2, 5),
    "TranslateRequest.beams": (1, 2),
    "TranslateRequest.hypotheses": (1, 2),
    "GenerateRequest.beams": (1, 1, 2),
    "Tokens.ids": ([1], [1, 5, 7, 200], [2, 4, 3], [4, 5], []),
    "StreamLogsRequest.attempt": (0, 0, 1),
    "Sampling.temperature": (0.0, 1.0),
    "Input.text": ("a", "the [MASK] is", "def add(a, b):", "Maß 尺寸 🙂", "", "x" * 300),
    "GenerateRequest.text": ("a", "def add(a, b):", "Maß 尺寸 🙂", "x" * 200),
    "GenerateRequest.stop": ([], ["x"], ["\n\n", "🙂"]),
    "EmbedRequest.prompt_name": ("query", "document"),
    "ClassifyRequest.top_k": (0, 1, 2),
    "AnswerRequest.top_k": (1, 2, 100),
    "AnswerRequest.max_answer_tokens": (1, 30),
    "EngineSpec.max_batch": (1, 16),
    "EngineSpec.block_size": (4, 16),
    "EngineSpec.blocks": (64,),
    "ResolveRequest.role": (1, 2, 3, 4),
    "ResolveRequest.name": ("", "", "tiny/", "coordinator"),
    "AppendLogsRequest.source": ("driver", "rank-0"),
    "AppendLogsRequest.first_line": (1, 2, 3, 40),
    "Report.sequence": (1, 2, 3, 9, 100),
    "CreateTokenRequest.ttl": (duration_pb2.Duration(seconds=60),),
    "CreateTokenRequest.audience": ([], ["controller"]),
    "CreateTokenRequest.role": (1, 1, 2, 3, 4),
    "StreamLogsRequest.source": ("", "driver"),
    "WatchJobRequest.cursor": (0, 0, 1),
    "PullItem.extents": ([4, 3], [5], [], [1]),
    "PullItem.element_size": (4, 2, 8),
    "PullItem.offset": (0, 0, 48, 64),
    "Box.offsets": ([0, 0], [0], [1], []),
    "Box.extents": ([4, 3], [1, 1], [5], []),
    "ListJobsRequest.filter": ("", "", "state=RUNNING", "ended=false AND label.a=b", "name=a"),
    "ListJobsRequest.page_size": (0, 1, 2),
    "ListTokensRequest.page_size": (0, 1, 2),
    "ListAuditRequest.page_size": (0, 1, 2),
    "ListSetsRequest.page_size": (0, 1, 2),
    "ListVersionsRequest.page_size": (0, 1, 2),
    "ListDeploymentsRequest.page_size": (0, 1, 2),
}  # fmt: skip


def pushed(opened: Opened, rank: int) -> list[Message]:
    """A whole push of a version that was opened."""
    headers, data = [], b""
    for index, tensor in enumerate(TENSORS):
        size = {"F32": 4, "BF16": 2, "I64": 8}[tensor.dtype]
        for extent in tensor.shape:
            size *= extent
        content = bytes([index + 1]) * size
        box = manifest_pb2.Box(offsets=[0] * len(tensor.shape), extents=tensor.shape)
        headers.append(
            shard_pb2.SliceHeader(
                tensor=index,
                group=tensor.group,
                box=box,
                size=size,
                checksum=xxhash.xxh3_64_intdigest(content),
            )
        )
        data += content
    target = shard_pb2.PushTarget(set=opened.set, rank=rank, grant=opened.grant)
    return [
        shard_pb2.PushSlicesRequest(target=target),
        shard_pb2.PushSlicesRequest(headers=shard_pb2.SliceHeaders(headers=headers)),
        shard_pb2.PushSlicesRequest(data=data),
    ]
