"""The Grafana board of the platform's own metrics, as plain values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UID = "tessera"
TITLE = "Tessera"

_HEIGHT, _WIDTH, _COLUMNS = 8, 12, 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart.

    Args:
        title: above it.
        unit: as Grafana names units.
        queries: PromQL and what each series is called, `{{label}}` for a label's value.
        help: what it shows, behind the (i).
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    help: str


_REPLICA = '{deployment=~"$deployment"}'
_TOKENS = f"rate(ray_tessera_inference_tokens_total{_REPLICA}[1m])"
_FREE = f"ray_tessera_inference_free_blocks{_REPLICA}"
_ENDED = f"rate(ray_tessera_inference_requests_total{_REPLICA}[1m])"
_FIRST = f"rate(ray_tessera_inference_time_to_first_token_seconds_bucket{_REPLICA}[5m])"

PANELS = (
    Panel(
        title="Requests",
        unit="reqps",
        queries=(
            (
                f"sum by (tenant, deployment, method, outcome) ({_ENDED})",
                "{{tenant}}/{{deployment}} {{method}} {{outcome}}",
            ),
        ),
        help="Requests that have ended, by method and outcome.",
    ),
    Panel(
        title="Tokens written",
        unit="short",
        queries=(
            (
                f"sum by (tenant, deployment) ({_TOKENS})",
                "{{tenant}}/{{deployment}}",
            ),
        ),
        help="Tokens per second, all replicas together.",
    ),
    Panel(
        title="Time to first token",
        unit="s",
        queries=tuple(
            (
                f"histogram_quantile({quantile}, sum by (le, tenant, deployment) ({_FIRST}))",
                f"{{{{tenant}}}}/{{{{deployment}}}} p{quantile * 100:.0f}",
            )
            for quantile in (0.5, 0.95)
        ),
        help="From the arrival of a request to its first token, queue and prompt included.",
    ),
    Panel(
        title="Requests now",
        unit="short",
        queries=tuple(
            (
                f"sum by (tenant, deployment) (ray_tessera_inference_{what}_requests{_REPLICA})",
                f"{{{{tenant}}}}/{{{{deployment}}}} {what}",
            )
            for what in ("running", "waiting")
        ),
        help="Those that are being answered, and those that wait for room in the cache.",
    ),
    Panel(
        title="Version that serves",
        unit="none",
        queries=(
            (
                f"max by (tenant, deployment, replica) (ray_tessera_inference_version{_REPLICA})",
                "{{tenant}}/{{deployment}}/{{replica}}",
            ),
        ),
        help="The version of the weights that each replica gives new requests.",
    ),
    Panel(
        title="Behind its set",
        unit="none",
        queries=(
            (
                f"max by (tenant, deployment, replica) (ray_tessera_inference_lag{_REPLICA})",
                "{{tenant}}/{{deployment}}/{{replica}}",
            ),
        ),
        help="Commits and rollbacks of the set since the version that a replica serves.",
    ),
    Panel(
        title="Free cache",
        unit="short",
        queries=(
            (
                f"max by (tenant, deployment, replica) ({_FREE})",
                "{{tenant}}/{{deployment}}/{{replica}}",
            ),
        ),
        help="Blocks of the KV cache that are free. At none, requests wait.",
    ),
    Panel(
        title="Pushed to shards",
        unit="Bps",
        queries=(
            ("sum by (node) (rate(ray_tessera_parameters_pushed_bytes_total[1m]))", "{{node}}"),
        ),
        help="What trainers and imports write.",
    ),
    Panel(
        title="Pulled from shards",
        unit="Bps",
        queries=(
            ("sum by (node) (rate(ray_tessera_parameters_pulled_bytes_total[1m]))", "{{node}}"),
        ),
        help="What replicas, resumed jobs and exports read.",
    ),
    Panel(
        title="Versions committed",
        unit="short",
        queries=(
            ("sum(increase(ray_tessera_parameters_versions_committed_total[1h]))", "in an hour"),
        ),
        help="By all jobs and imports.",
    ),
    Panel(
        title="On disk",
        unit="bytes",
        queries=(("max by (node) (ray_tessera_parameters_disk_bytes)", "{{node}}"),),
        help="Bytes of slices on each shard's disk.",
    ),
    Panel(
        title="Damaged, and short of copies",
        unit="none",
        queries=(
            ("max(ray_tessera_parameters_damaged_versions)", "damaged"),
            ("max(ray_tessera_parameters_lacking_versions)", "short of copies"),
        ),
        help="Versions that a group is lost of, and those whose copies are still to be made.",
    ),
)


def board(panels: Sequence[Panel] = PANELS) -> dict[str, Any]:
    """What Grafana loads."""
    return {
        "uid": UID,
        "title": TITLE,
        "tags": ["tessera"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_datasource(), _deployment()]},
        "panels": [_panel(index, panel) for index, panel in enumerate(panels)],
    }


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    left = index * _WIDTH % _COLUMNS
    top = index * _WIDTH // _COLUMNS * _HEIGHT
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "gridPos": {"x": left, "y": top, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
            }
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"}


def _deployment() -> dict[str, Any]:
    query = "label_values(ray_tessera_inference_free_blocks, deployment)"
    return {
        "name": "deployment",
        "label": "Deployment",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "deployment"},
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "multi": True,
        "refresh": 2,
    }
