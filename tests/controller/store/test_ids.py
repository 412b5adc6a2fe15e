"""Ids of jobs."""

from __future__ import annotations

from tessera.controller.store.ids import Ids


def test_ids_grow():
    ids = Ids()
    made = [ids.job() for _ in range(200)]
    assert made == sorted(set(made))
