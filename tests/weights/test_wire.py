"""Messages written by hand are protobuf's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.weights import wire


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=8), st.integers(1, 500))
def test_generated_classes_read_what_is_packed_and_the_other_way_round(parts, limit):
    arrays = [np.frombuffer(part, np.uint8) for part in parts]
    found = list(wire.chunks(arrays, wire.PUSH_DATA, limit))
    parsed = [pb.PushSlicesRequest.FromString(message) for message in found]
    assert all(message.WhichOneof("content") == "data" for message in parsed)
    assert all(0 < len(message.data) <= limit for message in parsed)
    assert b"".join(message.data for message in parsed) == b"".join(parts)
    assert [message.SerializeToString() for message in parsed] == found
    payloads = [wire.payload(wire.PUSH_DATA, message) for message in found]
    assert b"".join(part.tobytes() for part in payloads) == b"".join(parts)


def test_other_messages_are_left_to_the_generated_classes():
    target = pb.PushSlicesRequest(target=pb.PushTarget(set="a/b", grant="g"))
    assert wire.payload(wire.PUSH_DATA, target.SerializeToString()) is None
    checksums = pb.PullSlicesResponse(checksums=pb.PullChecksums(checksums=[1, 2]))
    assert wire.payload(wire.PULL_DATA, checksums.SerializeToString()) is None
    whole = pb.PullSlicesResponse(data=b"x" * 300).SerializeToString()
    assert wire.payload(wire.PULL_DATA, whole[:-1]) is None
    assert wire.payload(wire.PULL_DATA, b"") is None
