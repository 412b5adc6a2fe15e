"""How far a run is."""

from __future__ import annotations

from tessera.trainer.position import Position


def test_a_position_keeps_everything():
    position = Position(step=3, samples=24, epoch=1, seed=7, world_size=2, data="ab")
    assert Position.from_json(position.to_json()) == position
