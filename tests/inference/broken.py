"""Models with numbers that are not finite, and all that they are asked for."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine.sequence import Sampling

from .served import ask, generate, joined

GREEDY = Sampling(temperature=0)
LABELS = ("x", "y", "z")
NAN, INF = float("nan"), float("inf")
PROMPT = (5, 6, 7)


def broken(model, change, **fields):
    """A copy of a model whose module was changed."""
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        change(module)
    return replace(model, module=module, **fields)


def one_weight(module):
    stack = module.trunk.encoder or module.trunk.decoder
    stack.blocks[0].mlp.up.weight[3, 5] = NAN


def embedding(token):
    """Of what reads: a decoder beside an encoder may write the token."""

    def change(module):
        module.trunk.stacks[0].embeddings.tokens.weight[token] = NAN

    return change


def inputs(*texts):
    return [pb.Input(tokens=pb.Tokens(ids=ids)) for ids in texts]


def asked(method, ids=PROMPT):
    """Fields of a request for a method."""
    tokens = pb.Tokens(ids=ids)
    if method == "Score":
        given = pb.Input(tokens=tokens)
        return {"texts": [pb.ScoredText(context=given, target=given)]}
    if method == "Answer":
        given = pb.Input(tokens=tokens)
        return {"questions": [pb.Question(question=given, context=given)]}
    return {"inputs": inputs(ids)}


async def call(replica, method, ids, fields):
    if method == "FillMask":
        ids = (*ids, replica.engine.active.mask_id)
    if method == "Generate":
        parts = await generate(replica, tokens=pb.Tokens(ids=ids), max_tokens=6, **fields)
        return joined(parts)
    reply = await ask(replica, method, **{**asked(method, ids), **fields})
    return reply.SerializeToString(deterministic=True)


def untied(tiny, sizes):
    """A model whose embeddings are read by nothing but prompts."""
    return tiny.model(tie_embeddings=False, share_embeddings=False, **sizes)
