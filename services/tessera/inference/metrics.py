"""What a replica counts. Pure."""

from __future__ import annotations

from tessera.meter import Metric, MetricKind

REQUESTS = Metric(
    name="tessera_inference_requests_total",
    text="Requests that have ended, by method and outcome.",
    tags=("method", "outcome"),
)
"""An outcome is `done`, a finish reason, `cancelled`, or an error's reason in lower case."""
CORRUPTED = Metric(
    name="tessera_inference_corrupted_requests_total",
    text="Requests that ended because the model's numbers were not finite.",
    tags=("method",),
)
TOKENS = Metric(name="tessera_inference_tokens_total", text="Tokens that were written.")
FIRST_TOKEN = Metric(
    name="tessera_inference_time_to_first_token_seconds",
    text="Seconds from a request to its first token.",
    kind=MetricKind.HISTOGRAM,
    boundaries=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
VERSION = Metric(
    name="tessera_inference_version",
    text="Version of the weights that new requests get.",
    kind=MetricKind.GAUGE,
)
LAG = Metric(
    name="tessera_inference_lag",
    text="Moves of the set's head, commits and rollbacks, that the version is behind.",
    kind=MetricKind.GAUGE,
)
RUNNING = Metric(
    name="tessera_inference_running_requests",
    text="Requests that hold blocks of the cache.",
    kind=MetricKind.GAUGE,
)
WAITING = Metric(
    name="tessera_inference_waiting_requests",
    text="Requests that wait for blocks.",
    kind=MetricKind.GAUGE,
)
FREE_BLOCKS = Metric(
    name="tessera_inference_free_blocks",
    text="Blocks of the cache that are free.",
    kind=MetricKind.GAUGE,
)
METRICS = (REQUESTS, CORRUPTED, TOKENS, FIRST_TOKEN, VERSION, LAG, RUNNING, WAITING, FREE_BLOCKS)
