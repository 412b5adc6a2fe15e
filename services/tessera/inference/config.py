"""What a replica is told, and what it reads of its deployment. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.inference.engine.settings import EngineSettings
from tessera.rpc.limits import LIMITS, CallLimits
from tessera.rpc.token import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaConfig:
    """Facts that a replica starts with.

    Args:
        controller: its host:port.
        token: of the deployment's replicas.
        tenant: whose the deployment is.
        deployment: name of the deployment, without tenant.
        index: of the replica in it.
        host: where it listens.
        cpus: threads that it computes with.
        stall_seconds: without a step for so long while there is work, it does not serve.
        actor: id of its Ray actor, if it is one.
        calls: what callers may have of its server.
    """

    controller: str
    token: Token
    tenant: str
    deployment: str
    index: int
    host: str = "127.0.0.1"
    cpus: float = 1.0
    stall_seconds: float = 30.0
    actor: str = ""
    calls: CallLimits = LIMITS

    @property
    def name(self) -> str:
        """In the registry, where each tenant has names of its own."""
        return f"{self.deployment}/{self.index}"

    @property
    def full_name(self) -> str:
        """Among the replicas of all tenants."""
        return f"{self.tenant}/{self.name}"

    @property
    def threads(self) -> int:
        """Of computation."""
        return max(1, int(self.cpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What a deployment serves.

    Args:
        deployment: its name, without tenant.
        tenant: whose it is.
        set: `{tenant}/{name}`.
        version: of the set; 0: the newest, and every newer one when it comes.
        max_lag: moves of the set's head that it may be behind; None: any number.
        accelerator: type of device; empty: none.
        engine: its bounds.
    """

    deployment: str
    tenant: str
    set: str
    version: int
    max_lag: int | None = None
    accelerator: str = ""
    engine: EngineSettings = field(default_factory=EngineSettings)

    @property
    def follow(self) -> bool:
        """Whether newer versions are served as they come."""
        return not self.version

    def answers_to(self, name: str) -> bool:
        """Whether a request for this model is meant for this deployment."""
        return name in (self.deployment, f"deployments/{self.tenant}/{self.deployment}")
