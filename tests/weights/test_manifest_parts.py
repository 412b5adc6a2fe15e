"""A manifest in parts is the manifest, however small they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights import manifest_parts

GROUPS = ("model", "optimizer", "state")
TENSORS = st.lists(st.sampled_from(GROUPS), max_size=8)
ASSETS = st.dictionaries(st.sampled_from("abc"), st.binary(max_size=300))


def manifest(groups, slices, assets):
    return pb.Manifest(
        tensors=[pb.Tensor(group=g, name=f"t{i}", dtype="U8") for i, g in enumerate(groups)],
        slices=[
            pb.Slice(tensor=number % len(groups), piece=f"p{number}", checksum=number)
            for number in range(slices if groups else 0)
        ],
        assets=[pb.Asset(name=name, content=content) for name, content in assets.items()],
    )


@given(
    groups=TENSORS,
    slices=st.integers(0, 20),
    assets=ASSETS,
    wanted=st.sets(st.sampled_from(GROUPS)),
    size=st.integers(1, 500),
)
def test_what_is_cut_is_joined(groups, slices, assets, wanted, size):
    whole, version = manifest(groups, slices, assets), pb.Version(set="a/s", number=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_parts, "PART_BYTES", size)
        parts = list(manifest_parts.cut(version, whole.SerializeToString(), wanted, {}))
    assert all(part.HasField("version") == (not place) for place, part in enumerate(parts))
    # A part is larger than it may be only where one item alone is.
    for part in parts[1:]:
        items = [*part.tensors, *part.slices, *part.assets]
        assert len(items) == 1 or sum(item.ByteSize() for item in items) <= size
    found = manifest_parts.join(parts)
    assert found.version == version
    assert [tensor.name for tensor in found.tensors] == [
        f"t{index}" for index, group in enumerate(groups) if group in wanted
    ]
    kept = [source for source in whole.slices if groups[source.tensor] in wanted]
    assert [source.piece for source in found.slices] == [source.piece for source in kept]
    for ours, theirs in zip(found.slices, kept, strict=True):
        assert found.tensors[ours.tensor].name == f"t{theirs.tensor}"
    assert {asset.name: asset.content for asset in found.assets} == assets


def test_a_small_one_is_one_part():
    whole = manifest(["model"] * 20, 100, {"config.json": b"{}"})
    assert len(list(manifest_parts.cut(pb.Version(), whole.SerializeToString(), GROUPS, {}))) == 1
