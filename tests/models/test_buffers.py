"""Which buffers are kept: those of torch's `state_dict`, each once."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tessera.models.buffers import kept_tensors, persistent_buffers


@st.composite
def modules(draw):
    """A tree of modules that share tensors and one another."""
    tensors = [torch.full((2,), float(at)) for at in range(4)]
    made = []
    for _ in range(draw(st.integers(1, 5))):
        module = nn.Module()
        for at in range(draw(st.integers(0, 3))):
            kind = draw(st.sampled_from(["kept", "left", "none", "weight", "tied"]))
            if kind == "weight":
                module.register_parameter(f"t{at}", nn.Parameter(torch.ones(1)))
            elif kind == "none":
                module.register_buffer(f"t{at}", None)
            else:
                tensor = draw(st.sampled_from(tensors)) if kind == "tied" else torch.zeros(1)
                module.register_buffer(f"t{at}", tensor, persistent=kind != "left")
        for at, child in enumerate(
            draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
        ):
            module.add_module(f"m{at}", child)
        made.append(module)
    return made[-1]


@given(modules())
def test_they_are_those_of_the_state_dict_once(module):
    state = module.state_dict(keep_vars=True)
    found = persistent_buffers(module)
    assert found.keys() <= state.keys()
    assert all(found[name] is state[name] for name in found)
    assert len({id(buffer) for buffer in found.values()}) == len(found)
    buffers = {id(t) for t in state.values() if not isinstance(t, nn.Parameter)}
    assert buffers == {id(buffer) for buffer in found.values()}
    names = [name for name in state if name in found]
    first = {id(state[name]): name for name in reversed(list(state))}
    assert names == [name for name in state if first[id(state[name])] == name and name in found]
    assert kept_tensors(module).keys() == dict(module.named_parameters()).keys() | found.keys()


def test_a_tied_buffer_is_kept_where_one_of_its_names_is():
    module, tensor = nn.Module(), torch.zeros(1)
    module.register_buffer("left", tensor, persistent=False)
    module.register_buffer("kept", tensor)
    assert list(persistent_buffers(module)) == ["kept"]
