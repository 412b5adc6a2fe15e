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
from tessera.controller.policy.scheduler import Reason
from tessera.rpc.principal import Role


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
class Attempt:
    """One run of a job; `released` says that nothing of it holds resources any more."""

    job: str
    number: int
    submission_id: str
    pool: str
    start_time: float
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
