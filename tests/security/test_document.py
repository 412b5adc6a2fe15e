"""docs/security.md shows the tables as they are, and an example that is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tessera.rpc.platform_limits import PlatformLimits
from tessera.spec.configuration import parse_configuration

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.processes
@pytest.mark.parametrize("script", ["rights.py", "limits.py"])
def test_the_table_is_up_to_date(script):
    done = subprocess.run(
        [sys.executable, DOCS / script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_example_of_limits_is_read():
    (block,) = re.findall(
        r"```yaml\n(servers:.*?)```", (DOCS / "security.md").read_text(), re.DOTALL
    )
    limits = parse_configuration(block, "security.md", PlatformLimits)
    shop = limits.of("shop")
    assert (limits.tenant.jobs, shop.jobs, shop.weights.versions) == (1000, 5000, 10_000)
