"""A job file in which nothing is wrong."""

from __future__ import annotations

GOOD = """\
name: demo
model: {family: gpt, layers: 2}
data:
  files: ["stdlib://**/*.py"]
train: {lr: 1e-3, steps: 1e2}
labels: {team: nlp}
"""
