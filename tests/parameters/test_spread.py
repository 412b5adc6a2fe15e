"""Where copies of pieces go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tessera.parameters.piece import HeldPiece, PieceSpec
from tessera.parameters.spread import Fleet, default_replicas, further_holders, missing_copies

NAMES = [f"shard-{index}" for index in range(6)]


def held(name, holders, damaged=(), group="model"):
    piece = PieceSpec(name=f"{name}-{group}-00", group=group, size=1, digest="0" * 16)
    return HeldPiece(piece=piece, holders=tuple(holders), damaged=frozenset(damaged))


@st.composite
def fleets(draw):
    """Shards on nodes: some answer, some of those leave, some are away for a moment or for good."""
    states = {name: draw(st.sampled_from(["there", "leaves", "away", "gone"])) for name in NAMES}
    there = [name for name, state in states.items() if state == "there"]
    return Fleet(
        nodes={name: f"node-{draw(st.integers(0, 3))}" for name in there},
        answering=frozenset(n for n, state in states.items() if state in {"there", "leaves"}),
        counted=frozenset(n for n, state in states.items() if state in {"there", "away"}),
    )


@st.composite
def pieces(draw):
    holders = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    damaged = draw(st.sets(st.sampled_from(holders)))
    return held(draw(st.integers(0, 20)), holders, damaged)


@given(st.lists(pieces(), max_size=5), fleets(), st.integers(1, 4))
def test_what_can_be_copied_is_and_nothing_else(wanted, fleet, replicas):
    plan = missing_copies(wanted, fleet, replicas)
    for piece in wanted:
        to = {
            shard: copy for shard, copies in plan.items() for copy in copies if copy.piece is piece
        }
        sources = [shard for shard in piece.sound if shard in fleet.answering]
        if not sources:
            assert not to
            continue
        for shard, copy in to.items():
            assert shard in fleet.nodes, "only who may take more"
            assert shard not in piece.sound
            assert list(copy.sources) == sources
        counted = {shard for shard in piece.sound if shard in fleet.counted}
        mended = {s for s in piece.damaged if s in fleet.nodes}
        assert mended <= set(to)
        now = counted | set(to)
        assert len(now) >= min(replicas, len(counted | set(fleet.nodes)))
        assert len(now) <= max(replicas, len(counted | mended))


@given(st.integers(2, 6), st.integers(0, 50), st.integers(2, 3))
def test_each_shard_takes_as_much_as_it_gives(shards, rank, wanted):
    names = NAMES[:shards]
    nodes = dict(zip(names, names, strict=True))
    taken = Counter(
        to for name in names for to in further_holders(held(rank, [name]), [name], nodes, wanted)
    )
    assert set(taken.values()) == {min(wanted, shards) - 1}
    assert len(taken) == shards


@given(fleets(), pieces(), st.integers(2, 4))
def test_another_node_comes_before_another_shard_of_the_same(fleet, piece, wanted):
    holders = [shard for shard in piece.holders if shard in fleet.nodes]
    found = further_holders(piece, holders, fleet.nodes, wanted)
    used = {fleet.nodes[name] for name in holders}
    for shard in found:
        unused = set(fleet.nodes.values()) - used
        assert fleet.nodes[shard] in unused or not (
            unused & {fleet.nodes[name] for name in set(fleet.nodes) - set(holders)}
        )
        holders.append(shard)
        used.add(fleet.nodes[shard])


def test_the_same_ranks_next_piece_goes_the_same_way():
    nodes = {name: name for name in NAMES}
    first = PieceSpec(name="3-model-12345678", group="model", size=1, digest="0" * 16)
    second = PieceSpec(name="3-model-87654321", group="model", size=1, digest="0" * 16)
    ways = {
        tuple(
            further_holders(
                HeldPiece(piece=piece, holders=("shard-1",), damaged=frozenset()),
                ["shard-1"], nodes, 3,
            )
        )
        for piece in (first, second)
    }  # fmt: skip
    assert len(ways) == 1


def test_two_copies_where_there_are_two_nodes():
    assert default_replicas(["a", "a"]) == 1
    assert default_replicas(["a", "b", "b"]) == 2
    assert default_replicas([]) == 1
