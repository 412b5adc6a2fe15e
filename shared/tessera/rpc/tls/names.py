"""The DNS name that a process proves with its certificate: derived from what it is. Pure.

Addresses of workloads change with each start. So a caller does not check where the answer comes
from, but whose it is: it expects the name of the one that it means.
"""

from __future__ import annotations

import hashlib
import re

from tessera.rpc.principal import PLATFORM, Principal, Role

SUFFIX = "tessera.internal"
"""`.internal` is nobody's on the internet (ICANN, 2024)."""

HASHED = "sha256-"
"""How a label begins that stands for what is no label itself."""

LONGEST = 253
"""Characters of a DNS name (RFC 1035)."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def server_name(role: Role, tenant: str, name: str) -> str:
    """The name of a workload; what differs in anything has another one.

    Args:
        role: what it is.
        tenant: whose it is; empty for `PLATFORM`.
        name: of the workload within the tenant; its parts are apart by slashes.
    """
    ends = [_label(tenant), role.value, SUFFIX]
    parts = [_label(part) for part in reversed(name.split("/"))]
    whole = ".".join([*parts, *ends])
    # As one hash it cannot be the hash of a part: those have no slash.
    return whole if len(whole) <= LONGEST else ".".join([_hashed(name), *ends])


def coordinator_name() -> str:
    """Of the parameter coordinator."""
    return server_name(Role.COORDINATOR, "", "coordinator")


def shard_server_name(shard: str) -> str:
    """Of a parameter shard, `shard-0` for example."""
    return server_name(Role.SHARD, "", shard)


def attempt_name(tenant: str, job: str, attempt: int) -> str:
    """Of the driver and the ranks of an attempt."""
    return server_name(Role.ATTEMPT, tenant, f"{job}/{attempt}")


def replica_name(tenant: str, deployment: str) -> str:
    """Of every replica of a deployment."""
    return server_name(Role.REPLICA, tenant, deployment)


def name_of(who: Principal) -> str:
    """The one name that a principal's certificate bears."""
    match who.role:
        case Role.ATTEMPT:
            return attempt_name(who.tenant, who.job, who.attempt)
        case Role.REPLICA:
            return replica_name(who.tenant, who.deployment)
        case _:
            return server_name(who.role, "" if who.role in PLATFORM else who.tenant, who.subject)


def _label(text: str) -> str:
    if _LABEL.fullmatch(text) and not text.startswith(HASHED):
        return text
    return _hashed(text)


def _hashed(text: str) -> str:
    return HASHED + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
