"""What the store keeps, as plain values; specs stay opaque proto3 JSON here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.attempt.failure import Failure
from tessera.attempt.progress import Progress
from tessera.controller.policy.demand import Amounts, Demand
from tessera.controller.policy.hold import JobHold
from tessera.controller.policy.job import JobProgress, JobState
from tessera.controller.policy.limits import JobLimits
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.scheduling.queue import Queue
from tessera.rpc.principal import Role

HALF_LIFE = 6 * 3600.0
"""Seconds in which half of a node's exclusion score is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands, at first as it is accepted; times are seconds since the epoch.

    Deadlines are what `reconcile.deadlines` looks for; None: there is none, or none any more.
    """

    id: str
    tenant: str
    owner: str
    name: str
    queue: str
    priority: int
    labels: Mapping[str, str]
    request_id: str
    request_digest: str
    spec: str
    demand: Demand
    publish_set: str
    position: JobProgress = field(default_factory=JobProgress)
    not_before: float = 0.0
    event_sequence: int = 0
    waiting: tuple[Reason, ...] = ()
    progress: Progress | None = None
    failure: Failure | None = None
    create_time: float = 0.0
    start_time: float | None = None
    end_time: float | None = None
    hold: JobHold | None = None
    limits: JobLimits = field(default_factory=JobLimits)
    start_deadline: float | None = None
    stop_deadline: float | None = None
    stall_deadline: float | None = None
    delete_time: float | None = None

    @property
    def state(self) -> JobState:
        """Where it stands."""
        return self.position.state


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWorker:
    """Where a worker was put.

    Args:
        node: Ray's id of its node; of one that is still to be made, the name that stands for it.
        devices: their numbers on the node.
        group: the node group that has to make the node; empty: it was there.
    """

    node: str
    devices: tuple[int, ...] = ()
    group: str = ""

    @property
    def place(self) -> str:
        """Its node, or the group that has yet to make it."""
        return self.group or self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where standing work is: the replicas of a deployment, or the parameter service."""

    key: str
    pool: str
    flavour: str
    workers: tuple[StoredWorker, ...]
    start_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQueue:
    """A queue, and who may send work to it; no tenant is named: everybody."""

    queue: Queue
    tenants: tuple[str, ...] = ()
    create_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGroup:
    """A group of equal nodes of a pool that an autoscaler makes.

    Args:
        pool: whose it is.
        name: that Ray knows it by.
        resources: of one node, by Ray's names.
        labels: of its nodes; with a TPU topology, it makes whole slices.
        min: nodes, or slices, that are always there.
        max: that there may be.
    """

    pool: str
    name: str
    resources: Amounts
    labels: Mapping[str, str]
    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMark:
    """What is known of a node beside what Ray says.

    Args:
        node: Ray's id.
        cordoned: it gets no new work.
        draining: nor does it keep what it has.
        failures: exclusion score as of `time`.
        by: who said so.
    """

    node: str
    cordoned: bool = False
    draining: bool = False
    failures: float = 0.0
    time: float = 0.0
    by: str = ""

    def score(self, now: float) -> float:
        """The exclusion score that is left: half of it is forgotten in HALF_LIFE."""
        left: float = self.failures * 0.5 ** (max(0.0, now - self.time) / HALF_LIFE)
        return round(left, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job.

    Args:
        flavour: of its workers' devices; empty: they have none.
        workers: their places, by rank.
        released: nothing of it holds resources any more.
    """

    job: str
    number: int
    submission_id: str
    pool: str
    start_time: float
    flavour: str = ""
    workers: tuple[StoredWorker, ...] = ()
    launched: bool = False
    end_time: float | None = None
    failure: Failure | None = None
    released: bool = False
    report_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a job's history."""

    sequence: int
    time: float
    type: str
    state: JobState
    attempt: int
    message: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What training reported at one step."""

    attempt: int
    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An event that a driver asks for."""

    type: str
    message: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A driver's report with its number."""

    sequence: int
    content: Progress | Point | Note


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCommand:
    """A command that waits in the outbox."""

    id: int
    kind: str
    job: str
    attempt: int
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A registered Ray cluster; `token` says where Ray's token for its dashboard is kept."""

    name: str
    dashboard_url: str
    ray_address: str
    foreign: Amounts = field(default_factory=dict)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model to be served; `pool` is empty until there is room."""

    tenant: str
    name: str
    owner: str
    spec: str
    demand: Demand
    generation: str
    queue: str = "default"
    deleting: bool = False
    pool: str = ""
    waiting: tuple[Reason, ...] = ()
    create_time: float = 0.0

    @property
    def key(self) -> str:
        """Its key among everything that stands."""
        return f"deployment/{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureJob:
    """The newest Ray job that made sure of something standing."""

    key: str
    submission_id: str
    pool: str
    cluster: str
    generation: str
    status: str
    started: float
    ended: float | None = None
    failures: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tenant has of what there is a quota of."""

    jobs: int = 0
    deployments: int = 0
    blob_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What attempts have held, summed; of what is not summed by, nothing is said."""

    tenant: str = ""
    queue: str = ""
    owner: str = ""
    job: str = ""
    accelerator: str = ""
    accelerator_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_gib_seconds: float = 0.0
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who shares the platform."""

    name: str
    create_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """What is known of a token of a person or a program; times are seconds since the epoch."""

    id: str
    tenant: str
    role: Role
    subject: str
    audience: tuple[str, ...]
    creator: str
    create_time: float
    expire_time: float
    revoke_time: float | None = None
