from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.inference.engine import block_tables
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.sequence import Branch, Sequence

SIZE = 4


class Memory:
    """What a cache would hold: a token at every place."""

    def __init__(self, blocks):
        self.places = [None] * blocks.total * SIZE

    def copy(self, copies):
        for old, new in copies:
            row = self.places[old * SIZE : (old + 1) * SIZE]
            self.places[new * SIZE : (new + 1) * SIZE] = row

    def write(self, branch, begin):
        for at in range(begin, len(branch)):
            self.places[branch.blocks[at // SIZE] * SIZE + at % SIZE] = branch.tokens[at]

    def read(self, branch):
        return [
            self.places[branch.blocks[at // SIZE] * SIZE + at % SIZE] for at in range(len(branch))
        ]


@settings(max_examples=100, deadline=None)
@given(
    prompt=st.integers(1, 11),
    beams=st.integers(1, 5),
    steps=st.lists(st.tuples(st.randoms(use_true_random=False), st.booleans()), max_size=14),
)
def test_branches_never_see_what_others_write(prompt, beams, steps):
    blocks = BlockManager(60, SIZE)
    memory = Memory(blocks)
    sequence = Sequence(1, 1, range(prompt), limit=99)
    assert block_tables.fill(blocks, sequence, 0)
    memory.write(sequence.branches[0], 0)
    for chance, again in steps:
        chosen, seen = [], set()
        for _ in range(beams):
            pair = (chance.randrange(len(sequence.branches)), chance.randrange(100))
            tokens = (*sequence.branches[pair[0]].tokens, pair[1])
            if tokens not in seen:
                seen.add(tokens)
                chosen.append(pair)
        block_tables.fork(blocks, sequence, chosen)
        if again:
            before = blocks.free
            block_tables.release(blocks, sequence)
            assert blocks.free == blocks.total
            assert block_tables.fill(blocks, sequence, 0)
            # Full blocks that were shared are shared again; only a last, new block may be added.
            assert blocks.free >= before - len(sequence.branches)
            memory.places = [None] * len(memory.places)
            for branch in sequence.branches:
                memory.write(branch, 0)
        else:
            copies = block_tables.extend(blocks, sequence)
            memory.copy(copies)
            for branch in sequence.branches:
                memory.write(branch, len(branch) - 1)
        for branch in sequence.branches:
            assert memory.read(branch) == branch.tokens
        used = {block for branch in sequence.branches for block in branch.blocks}
        assert blocks.total - blocks.free == len(used)
    block_tables.release(blocks, sequence)
    assert blocks.free == blocks.total


def test_a_shared_half_full_block_is_copied_for_all_but_the_last():
    blocks = BlockManager(8, SIZE)
    sequence = Sequence(1, 1, range(5), limit=99)
    block_tables.fill(blocks, sequence, 0)
    shared = sequence.branches[0].blocks[1]
    block_tables.fork(blocks, sequence, [(0, 7), (0, 8), (0, 9)])
    copies = block_tables.extend(blocks, sequence)
    assert [old for old, _ in copies] == [shared, shared]
    lasts = [branch.blocks[1] for branch in sequence.branches]
    assert len(set(lasts)) == 3
    assert lasts[2] == shared
    assert len({branch.blocks[0] for branch in sequence.branches}) == 1


def test_too_few_blocks_take_nothing():
    blocks = BlockManager(3, SIZE)
    sequence = Sequence(1, 1, range(4), limit=99)
    assert block_tables.fill(blocks, sequence, 2)
    block_tables.fork(blocks, sequence, [(0, 1), (0, 2), (0, 3)])
    before = blocks.free
    assert block_tables.extend(blocks, sequence) is None
    assert blocks.free == before
    assert not block_tables.fill(blocks, Sequence(2, 1, range(4), limit=9), 2)
    assert blocks.free == before


@pytest.mark.parametrize(("prompt", "branches", "tokens"), [(1, 1, 40), (9, 4, 16), (40, 3, 40)])
def test_the_longest_length_leaves_room_for_every_branch(prompt, branches, tokens):
    blocks = BlockManager(10, SIZE)
    assert block_tables.longest(blocks, prompt, branches) == tokens
    sequence = Sequence(1, 1, range(prompt), limit=99)
    tail = tokens - prompt
    sequence.branches = [
        Branch([*range(prompt), *[100 + number] * tail])
        for number in range(branches if tail else 1)
    ]
    assert block_tables.fill(blocks, sequence, 0)
