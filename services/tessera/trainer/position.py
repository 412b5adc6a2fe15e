"""How far a run is: a few integers. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands between two steps.

    Args:
        step: optimizer steps done.
        samples: sequences consumed, over all ranks.
        epoch: that the next sequence belongs to; 0 where there are none.
        seed: of the run.
        world_size: number of ranks; random states fit only the same number.
        data: digest of the corpus.
    """

    step: int = 0
    samples: int = 0
    epoch: int = 0
    seed: int = 0
    world_size: int = 1
    data: str = ""

    def to_json(self) -> bytes:
        """The content of the tensor `trainer` of the group `state`."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Position:
        """What `to_json` wrote."""
        return cls(**json.loads(content))
