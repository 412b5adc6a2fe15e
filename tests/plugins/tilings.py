"""Ways to cut a tensor into boxes, and to see it under other shapes."""

from __future__ import annotations

import itertools

from tessera.weights import reshape
from tessera.weights.box import Box


def mesh(dice, shape):
    """Boxes that tile a tensor: every axis cut into uneven parts, some of them empty."""
    axes = []
    for full in shape:
        cuts = [dice.randint(0, full) for _ in range(dice.randint(0, 3))]
        axes.append(list(itertools.pairwise([0, *sorted(cuts), full])))
    return [
        Box(tuple(a for a, _ in cell), tuple(b - a for a, b in cell))
        for cell in itertools.product(*axes)
    ]


def shelves(dice, box, depth=0):
    """Boxes that tile another one, each half cut on its own: no grid."""
    axes = [axis for axis, extent in enumerate(box.extents) if extent > 1]
    if not axes or depth == 5 or dice.random() < 0.2:
        return [box]
    axis = dice.choice(axes)
    at = dice.randint(1, box.extents[axis] - 1)
    low, high, moved = list(box.extents), list(box.extents), list(box.offsets)
    low[axis], high[axis] = at, box.extents[axis] - at
    moved[axis] += at
    halves = Box(box.offsets, tuple(low)), Box(tuple(moved), tuple(high))
    return [part for half in halves for part in shelves(dice, half, depth + 1)]


def layout(dice, shape):
    """Boxes that tile a tensor, a mesh or no grid at all, in any order."""
    found = mesh(dice, shape) if dice.random() < 0.6 else shelves(dice, Box.whole(shape))
    dice.shuffle(found)
    return found


def reshapes(dice, count):
    """Shapes of the same elements whose axes do not cross, some with axes of one or none."""
    factors = [dice.choice([1, 2, 3, 4, 5]) for _ in range(dice.randint(0, 4))]
    if dice.random() < 0.05:
        factors.append(0)
    found = []
    for _ in range(count):
        shape = [1] * dice.randint(0, 1)
        for factor in factors:
            if shape and dice.random() < 0.5:
                shape[-1] *= factor
            else:
                shape.append(factor)
        found.append(tuple(shape))
    return found


def of_views(dice, shape, views):
    """Boxes that tile a tensor, and the view that each is one of: of one of them, or of several."""
    first = dice.choice(views)
    found = []
    for box in layout(dice, first):
        other = first if dice.random() < 0.7 else dice.choice([shape, *views])
        finer = reshape.common([first, other])
        for part in reshape.refined(box, first, finer):
            for block in reshape.split(part, finer, (other,)):
                found.append((reshape.merged(block, finer, other), other))
    return [box for box, _ in found], [None if view == shape else view for _, view in found]
