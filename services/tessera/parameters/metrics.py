"""What the service counts. Pure."""

from __future__ import annotations

from tessera.meter import Metric, MetricKind

PUSHED_BYTES = Metric(
    name="tessera_parameters_pushed_bytes_total", text="Bytes of slices that shards have taken."
)
PULLED_BYTES = Metric(
    name="tessera_parameters_pulled_bytes_total",
    text="Bytes of slices that shards have sent, or that readers of their host take themselves.",
)
VERSIONS_COMMITTED = Metric(
    name="tessera_parameters_versions_committed_total", text="Versions committed."
)
DISK_BYTES = Metric(
    name="tessera_parameters_disk_bytes",
    text="Bytes of slices on a shard's disk.",
    kind=MetricKind.GAUGE,
)
DAMAGED_VERSIONS = Metric(
    name="tessera_parameters_damaged_versions",
    text="Committed versions of which a shard has lost something, or has it damaged.",
    kind=MetricKind.GAUGE,
)
LACKING_VERSIONS = Metric(
    name="tessera_parameters_lacking_versions",
    text="Committed versions of which a piece lies on fewer shards than it should.",
    kind=MetricKind.GAUGE,
)
METRICS = (
    PUSHED_BYTES,
    PULLED_BYTES,
    VERSIONS_COMMITTED,
    DISK_BYTES,
    DAMAGED_VERSIONS,
    LACKING_VERSIONS,
)
