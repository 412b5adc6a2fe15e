"""The schema of job files on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

pytestmark = pytest.mark.processes

TESSERA = Path(sys.executable).with_name("tessera")


def test_schema(tessera, job_file):
    schema = tessera("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    with open(job_file()) as file:  # noqa: PTH123 - a text from the fixture
        jsonschema.validate(yaml.safe_load(file), schema)


def test_a_reader_that_goes_away(on):
    done = subprocess.run(
        f"{TESSERA} schema | head -c 10", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stdout == '{\n  "$sche'
    assert not done.stderr
