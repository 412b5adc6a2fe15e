"""What `tessera up` is asked for, refused or passed on."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.local.options import Options

PROMETHEUS, GRAFANA = "http://127.0.0.1:9090", "https://grafana.example.com"


def test_options_reach_the_supervisor():
    options = Options(cpus=8, prometheus=PROMETHEUS, grafana=GRAFANA)
    assert Options.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        ({}, {}),
        ({"prometheus": PROMETHEUS}, {"RAY_PROMETHEUS_HOST": PROMETHEUS}),
        (
            {"prometheus": PROMETHEUS, "grafana": GRAFANA},
            {
                "RAY_PROMETHEUS_HOST": PROMETHEUS,
                "RAY_GRAFANA_HOST": GRAFANA,
                "RAY_GRAFANA_IFRAME_HOST": GRAFANA,
            },
        ),
        (
            {"prometheus": PROMETHEUS, "grafana": "http://grafana:3000", "grafana_iframe": GRAFANA},
            {
                "RAY_PROMETHEUS_HOST": PROMETHEUS,
                "RAY_GRAFANA_HOST": "http://grafana:3000",
                "RAY_GRAFANA_IFRAME_HOST": GRAFANA,
            },
        ),
    ],
)
def test_charts_are_rays_own_variables(given, environment):
    assert Options(cpus=8, **given).charts() == environment


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"prometheus": "127.0.0.1:9090"}, "--prometheus"),
        ({"prometheus": PROMETHEUS, "grafana": "localhost"}, "--grafana"),
        ({"grafana": GRAFANA}, "--prometheus"),
        ({"prometheus": PROMETHEUS, "grafana_iframe": GRAFANA}, "--grafana"),
        ({"prometheus": PROMETHEUS, "ray_address": "h:1", "dashboard": "http://h:2"}, "its own"),
    ],
)
def test_what_ray_would_take_without_a_word_is_refused(given, option):
    with pytest.raises(errors.InvalidArgumentError, match=option) as caught:
        Options(cpus=8, **given)
    assert caught.value.reason == "INVALID_FIELD"
