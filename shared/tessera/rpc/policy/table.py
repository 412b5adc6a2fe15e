"""The table: every RPC, who may call it, and what of its request must be the caller's. Pure.

What stands in no row nobody may call. docs/security.md shows it; a test walks it with every kind of
caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tessera.rpc.policy.rule import Kind, Resource, Rule
from tessera.rpc.principal import Role

VIEWER = frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN, Role.OPERATOR})
SUBMITTER = VIEWER - {Role.VIEWER}
ADMIN = SUBMITTER - {Role.SUBMITTER}
OPERATOR = frozenset({Role.OPERATOR})
ATTEMPT = frozenset({Role.ATTEMPT})
REPLICA = frozenset({Role.REPLICA})
COORDINATOR = frozenset({Role.COORDINATOR})
SHARD = frozenset({Role.SHARD})
CONTROLLER = frozenset({Role.CONTROLLER})
ENDPOINTS = ATTEMPT | REPLICA | COORDINATOR | SHARD
ANYONE = frozenset(Role)

SCOPED = Resource(Kind.SCOPED)
SERVER = Resource(Kind.SERVER)
REF = Resource(Kind.ATTEMPT, "ref")
TENANT = Resource(Kind.TENANT, "tenant")
READ, WRITE = Resource(Kind.READ_SET, "set"), Resource(Kind.WRITE_SET, "set")


Table = dict[str, Rule]


def _rows(service: str, rows: Mapping[str, tuple[frozenset[Role], Iterable[Resource]]]) -> Table:
    return {
        f"/tessera.api.{service}/{method}": Rule(roles, tuple(resources))
        for method, (roles, resources) in rows.items()
    }


TABLE: Table = (
    _rows(
        "controller.v1.JobService",
        {
            "CreateJob": (SUBMITTER, [SCOPED]),
            "GetJob": (VIEWER, [SCOPED]),
            "ListJobs": (VIEWER, [SCOPED]),
            "CancelJob": (SUBMITTER, [SCOPED]),
            "HoldJob": (SUBMITTER, [SCOPED]),
            "ReleaseJob": (SUBMITTER, [SCOPED]),
            "PauseJob": (SUBMITTER, [SCOPED]),
            "ResumeJob": (SUBMITTER, [SCOPED]),
            "RequeueJob": (SUBMITTER, [SCOPED]),
            "UpdateJob": (SUBMITTER, [SCOPED]),
            "DeleteJob": (SUBMITTER, [SCOPED]),
            "CheckpointJob": (SUBMITTER, [SCOPED]),
            "GetJobRun": (VIEWER, [SCOPED]),
            "ExplainJob": (VIEWER, [SCOPED]),
            "WatchJob": (VIEWER, [SCOPED]),
            "StreamLogs": (VIEWER, [SCOPED]),
            "StreamMetrics": (VIEWER, [SCOPED]),
        },
    )
    | _rows(
        "controller.v1.DeploymentService",
        {
            "CreateDeployment": (SUBMITTER, [SCOPED]),
            "GetDeployment": (VIEWER | REPLICA, [SCOPED]),
            "ListDeployments": (VIEWER, [SCOPED]),
            "DeleteDeployment": (SUBMITTER, [SCOPED]),
        },
    )
    | _rows(
        "controller.v1.PoolService",
        {
            "ListPools": (VIEWER, []),
            "RegisterPool": (OPERATOR, []),
            "DeletePool": (OPERATOR, []),
        },
    )
    | _rows(
        "controller.v1.QueueService",
        {
            "ListQueues": (VIEWER, []),
            "PutQueue": (OPERATOR, []),
            "DeleteQueue": (OPERATOR, []),
        },
    )
    | _rows("controller.v1.UsageService", {"ListUsage": (VIEWER, [SCOPED])})
    | _rows(
        "controller.v1.NodeService",
        {
            "ListNodes": (VIEWER, []),
            "UpdateNode": (OPERATOR, []),
        },
    )
    | _rows(
        "controller.v1.BlobService",
        {
            "PutBlob": (SUBMITTER, [SCOPED]),
            "GetBlob": (SUBMITTER | ATTEMPT, [SCOPED]),
            "StatBlob": (SUBMITTER | ATTEMPT, [SCOPED]),
        },
    )
    | _rows(
        "controller.v1.AttemptService",
        {
            "GetAttempt": (ATTEMPT, [REF]),
            "ReportAttempt": (ATTEMPT, [REF]),
            "AppendLogs": (ATTEMPT, [REF]),
            "FinishAttempt": (ATTEMPT, [REF]),
        },
    )
    | _rows(
        "controller.v1.RegistryService",
        {
            "Register": (ENDPOINTS, [Resource(Kind.ENDPOINT, "endpoint")]),
            "Heartbeat": (ENDPOINTS, [Resource(Kind.ENDPOINT)]),
            "Deregister": (ENDPOINTS, [Resource(Kind.ENDPOINT)]),
            "Resolve": (VIEWER | ENDPOINTS, [SCOPED]),
        },
    )
    | _rows(
        "controller.v1.AccessService",
        {
            "CreateTenant": (OPERATOR, []),
            "ListTenants": (VIEWER, [SCOPED]),
            "CreateToken": (ADMIN, [TENANT]),
            "ListTokens": (ADMIN, [TENANT]),
            "RevokeToken": (ADMIN, [TENANT]),
            "RotateKeys": (OPERATOR, []),
            "ListAudit": (ADMIN, [TENANT]),
        },
    )
    | _rows(
        "controller.v1.IdentityService",
        {
            "ExchangeTicket": (ANYONE, []),
            "RenewToken": (ANYONE, []),
            "ExchangeOidcToken": (ANYONE, []),
            "GetKeys": (ANYONE, []),
            "IssueCertificate": (VIEWER | ENDPOINTS, []),
        },
    )
    | _rows(
        "parameters.v1.CoordinatorService",
        {
            "AcquireWriter": (SUBMITTER | ATTEMPT, [WRITE, Resource(Kind.ATTEMPT)]),
            "OpenVersion": (SUBMITTER | ATTEMPT, [WRITE]),
            "SealVersion": (SUBMITTER | ATTEMPT, [WRITE]),
            "CommitVersion": (SUBMITTER | ATTEMPT, [WRITE]),
            "AbortVersion": (SUBMITTER | ATTEMPT, [WRITE]),
            "GetManifest": (VIEWER | ATTEMPT | REPLICA | CONTROLLER, [READ]),
            "ListSets": (VIEWER, [SCOPED]),
            "ListVersions": (VIEWER | ATTEMPT | REPLICA | CONTROLLER, [READ]),
            "WatchSet": (VIEWER | REPLICA, [READ]),
            "PinVersion": (SUBMITTER | ATTEMPT | REPLICA, [READ]),
            "ReleasePin": (SUBMITTER | ATTEMPT | REPLICA, [READ]),
            "VerifyVersion": (VIEWER, [READ]),
            "RollbackSet": (SUBMITTER, [WRITE]),
            "ListHeadMoves": (VIEWER, [READ]),
            "DeleteSet": (SUBMITTER, [WRITE]),
            "ListShards": (OPERATOR, []),
            "DrainShard": (OPERATOR, []),
            "RemoveShard": (OPERATOR, []),
        },
    )
    | _rows(
        "parameters.v1.ShardService",
        {
            "PersistVersion": (COORDINATOR, []),
            "CopyPieces": (COORDINATOR, []),
            "RecordVersion": (COORDINATOR, []),
            "RecordHead": (COORDINATOR, []),
            "DropVersion": (COORDINATOR, []),
            "ListHeld": (COORDINATOR, []),
            "ReadHeld": (COORDINATOR, []),
            "VerifyHeld": (COORDINATOR, []),
            "GetShardStatus": (COORDINATOR | OPERATOR, []),
        },
    )
    | _rows(
        "parameters.v1.ShardDataService",
        {
            "PushSlices": (SUBMITTER | ATTEMPT, [Resource(Kind.WRITE_SET, "target.set")]),
            "PullSlices": (VIEWER | ATTEMPT | REPLICA, [READ]),
            "PullPiece": (SHARD, []),
            "OpenPieces": (VIEWER | ATTEMPT | REPLICA, [READ]),
            "ShareMemory": (SUBMITTER | ATTEMPT, [Resource(Kind.WRITE_SET, "target.set")]),
        },
    )
    | _rows(
        "trainer.v1.TrainerService",
        {
            # By nobody else: a job's code listens here, and would see the token of whoever calls.
            "GetStatus": (CONTROLLER, [SERVER]),
            "Checkpoint": (CONTROLLER, [SERVER]),
            "Stop": (CONTROLLER, [SERVER]),
        },
    )
    | _rows(
        "trainer.v1.RankService",
        {
            "Sync": (ATTEMPT, [SERVER]),
            "Join": (ATTEMPT, [SERVER]),
            "Leave": (ATTEMPT, [SERVER]),
        },
    )
    | _rows(
        "inference.v1.InferenceService",
        {
            "Generate": (VIEWER, [SERVER]),
            "Translate": (VIEWER, [SERVER]),
            "Classify": (VIEWER, [SERVER]),
            "FillMask": (VIEWER, [SERVER]),
            "Answer": (VIEWER, [SERVER]),
            "Embed": (VIEWER, [SERVER]),
            "Score": (VIEWER, [SERVER]),
            "GetModel": (VIEWER, [SERVER]),
        },
    )
    | _rows(
        "inference.v1.ReplicaService",
        {
            "GetReplicaStatus": (VIEWER, [SERVER]),
            "GetDigests": (VIEWER, [SERVER]),
            "Drain": (REPLICA, [SERVER]),
        },
    )
)
