from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tessera.inference.engine.block_manager import BlockManager

BLOCKS = 12


class Blocks(RuleBasedStateMachine):
    """Any order of taking, sharing and giving back, against a plain count."""

    def __init__(self):
        super().__init__()
        self.manager = BlockManager(BLOCKS, 4)
        self.holders: list[list[int]] = []

    @rule(count=st.integers(0, BLOCKS + 2))
    def allocate(self, count):
        free = self.manager.free
        taken = self.manager.allocate(count)
        if count > free:
            assert taken is None
            assert self.manager.free == free
        else:
            assert len(set(taken)) == count
            held = {block for blocks in self.holders for block in blocks}
            assert not held & set(taken)
            self.holders.append(taken)

    @rule(data=st.data())
    def share(self, data):
        if self.holders:
            blocks = data.draw(st.sampled_from(self.holders))
            self.manager.share(blocks)
            self.holders.append(list(blocks))

    @rule(data=st.data())
    def release(self, data):
        if self.holders:
            index = data.draw(st.integers(0, len(self.holders) - 1))
            self.manager.release(self.holders.pop(index))

    @invariant()
    def what_nobody_holds_is_free(self):
        held = {block for blocks in self.holders for block in blocks}
        assert self.manager.free == BLOCKS - len(held)


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=60, deadline=None)


def test_a_free_block_can_be_neither_shared_nor_freed():
    manager = BlockManager(2, 4)
    taken = manager.allocate(1)
    manager.release(taken)
    with pytest.raises(ValueError):
        manager.release(taken)
    with pytest.raises(ValueError):
        manager.share(taken)
    assert manager.free == 2


def test_blocks_needed():
    manager = BlockManager(8, 4)
    assert [manager.needed(tokens) for tokens in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert manager.capacity == 32
