"""Boxes of a version that ranks are asked for the hashes of."""

from __future__ import annotations

import numpy as np
from planned import store, version

from tessera.trainer.versions.digests import stored_boxes
from tessera.weights.box import Box
from tessera.weights.manifest import TensorSpec


def test_a_box_of_a_view_is_none_of_the_tensor():
    tensor = TensorSpec(group="optimizer", name="w", shape=(6, 2), dtype="F32")
    boxes = [Box((0, 0), (3, 2)), Box((1, 0, 0), (1, 3, 2))]
    slices, _ = store(tensor, np.zeros(48, np.uint8), boxes, [None, (2, 3, 2)])
    found = version([tensor], slices)
    assert stored_boxes(found, "optimizer") == {"w": boxes[:1]}
    assert stored_boxes(found, "model") == {}
