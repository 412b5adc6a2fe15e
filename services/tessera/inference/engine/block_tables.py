"""Which blocks the branches of a sequence hold, and which of them they share. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.sequence import Branch, Sequence


def longest(blocks: BlockManager, prompt: int, branches: int) -> int:
    """Tokens up to which branches of one prompt can grow if they have all blocks to themselves."""
    shared = min(prompt // blocks.block_size, blocks.total)
    return (shared + (blocks.total - shared) // branches) * blocks.block_size


def fill(blocks: BlockManager, sequence: Sequence, spare: int) -> bool:
    """Take blocks for all tokens of a sequence that holds none.

    Branches with the same tokens up to the end of a block share it.

    Args:
        blocks: where they are taken from.
        sequence: that begins, or begins again.
        spare: blocks that have to be left.

    Returns:
        False, and nothing taken, if too few are free.
    """
    contents = list(_contents(sequence, blocks.block_size))
    count = max(map(max, contents)) + 1
    if blocks.free - count < spare:
        return False
    taken = blocks.allocate(count)
    assert taken is not None
    held: set[int] = set()
    for branch, keys in zip(sequence.branches, contents, strict=True):
        branch.blocks = [taken[key] for key in keys]
        blocks.share(held.intersection(branch.blocks))
        held.update(branch.blocks)
    return True


def extend(blocks: BlockManager, sequence: Sequence) -> list[tuple[int, int]] | None:
    """Take a place for the last token of every branch, in a block that no other one writes to.

    Returns:
        (from, to) of blocks to copy before anything is written; None, and nothing taken, if too
        few are free.
    """
    last = blocks.needed(len(sequence)) - 1
    have = [branch.blocks[last] for branch in sequence.branches if len(branch.blocks) > last]
    copied = sum(blocks.references(block) - 1 for block in set(have))
    more = blocks.allocate(len(sequence.branches) - len(have) + copied)
    if more is None:
        return None
    copies = []
    for branch in sequence.branches:
        if len(branch.blocks) == last:
            branch.blocks.append(more.pop())
        elif blocks.references(shared := branch.blocks[last]) > 1:
            branch.blocks[last] = more.pop()
            blocks.release([shared])
            copies.append((shared, branch.blocks[last]))
    return copies


def fork(blocks: BlockManager, sequence: Sequence, chosen: Iterable[tuple[int, int]]) -> None:
    """Go on with some branches, each as often as it was chosen; the others end.

    Args:
        blocks: that they hold.
        sequence: that runs.
        chosen: (index of a branch, its next token).
    """
    old = sequence.branches
    sequence.branches = []
    for index, token in chosen:
        parent = old[index]
        blocks.share(parent.blocks)
        sequence.branches.append(Branch((*parent.tokens, token), parent.blocks))
    for branch in old:
        blocks.release(branch.blocks)


def release(blocks: BlockManager, sequence: Sequence) -> None:
    """Give all blocks of a sequence back."""
    for branch in sequence.branches:
        blocks.release(branch.blocks)
        branch.blocks = []


def _contents(sequence: Sequence, size: int) -> Iterable[list[int]]:
    """For every branch the numbers of its blocks' contents, from 0."""
    numbers: dict[tuple[int, int, tuple[int, ...]], int] = {}
    for index, branch in enumerate(sequence.branches):
        keys: list[int] = []
        for start in range(0, len(branch), size):
            tokens = tuple(branch.tokens[start : start + size])
            # A block that is not full will be written to: it is the branch's own.
            owner = -1 if len(tokens) == size else index
            content = (keys[-1] if keys else -1, owner, tokens)
            keys.append(numbers.setdefault(content, len(numbers)))
        yield keys
