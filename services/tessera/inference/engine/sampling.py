"""From logits to tokens, each row by itself: no answer depends on its batch mates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.inference.engine.sequence import Sampling


@dataclass(frozen=True, slots=True)
class Sampled:
    """One token and its natural log-probability before temperature and truncation.

    The log-probability is not finite if a logit of its row was not a number or +inf, or if none
    of the tokens that may be chosen has a finite one.
    """

    token: int
    logprob: float


def generator(sampling: Sampling) -> torch.Generator:
    """The source of chance of one sequence; on the CPU whatever the device of the model."""
    return torch.Generator().manual_seed(sampling.seed)


def sample(
    logits: Tensor,
    samplings: Sequence[Sampling],
    generators: Sequence[torch.Generator],
    suppress: Sequence[int] = (),
) -> list[Sampled]:
    """Choose the next token of every row.

    Args:
        logits: [B, V], of any float type.
        samplings: how, row by row.
        generators: a random row draws one number from its own; a greedy row draws none.
        suppress: tokens that are never chosen.
    """
    raw = suppressed(torch.log_softmax(logits.float(), dim=-1), suppress)
    tokens = raw.argmax(dim=-1)
    random = [row for row, sampling in enumerate(samplings) if not sampling.greedy]
    if random:
        draws = [torch.rand((), generator=generators[row], dtype=torch.float64) for row in random]
        rows = torch.tensor(random, device=raw.device)
        chosen = [samplings[row] for row in random]
        tokens[rows] = _draw(raw[rows], chosen, torch.stack(draws).to(raw.device))
    chosen_scores = raw.gather(1, tokens[:, None]).squeeze(1)
    return [
        Sampled(token, logprob)
        for token, logprob in zip(tokens.tolist(), chosen_scores.tolist(), strict=True)
    ]


def suppressed(logprobs: Tensor, suppress: Sequence[int]) -> Tensor:
    """Log-probabilities [B, V] in which some tokens are impossible."""
    if not suppress:
        return logprobs
    tokens = torch.tensor(suppress, device=logprobs.device)
    return logprobs.index_fill(-1, tokens, -torch.inf)


def _draw(logprobs: Tensor, samplings: Sequence[Sampling], draws: Tensor) -> Tensor:
    """[N, V] log-probabilities and [N] numbers of [0, 1) to [N] tokens."""
    device = logprobs.device
    heat = torch.tensor([s.temperature for s in samplings], device=device, dtype=torch.float64)
    # The most likely is at 0 before it is divided: the smallest temperature overflows nothing.
    gaps = logprobs.double() - logprobs.amax(-1, keepdim=True)
    probabilities = torch.softmax(gaps / heat[:, None], dim=-1)
    tokens = torch.empty(len(samplings), dtype=torch.int64, device=device)
    cut = [row for row, s in enumerate(samplings) if s.top_k or s.top_p < 1]
    free = [row for row, s in enumerate(samplings) if not (s.top_k or s.top_p < 1)]
    if free:
        rows = torch.tensor(free, device=device)
        tokens[rows] = _pick(probabilities[rows], draws[rows])
    if cut:
        rows = torch.tensor(cut, device=device)
        kept, ids = _truncate(probabilities[rows], [samplings[row] for row in cut])
        tokens[rows] = ids.gather(1, _pick(kept, draws[rows])[:, None]).squeeze(1)
    return tokens


def _truncate(probabilities: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """Most likely first: [N, K] probabilities, zero where cut off, and [N, K] token ids."""
    vocabulary = probabilities.shape[-1]
    limits = [min(s.top_k or vocabulary, vocabulary) for s in samplings]
    ordered, ids = torch.topk(probabilities, max(limits), dim=-1)
    device = probabilities.device
    ranks = torch.arange(ordered.shape[-1], device=device)
    keep = ranks < torch.tensor(limits, device=device)[:, None]
    ordered = ordered * keep
    mass = ordered.cumsum(-1)
    share = torch.tensor([s.top_p for s in samplings], device=device, dtype=torch.float64)
    # A token stays if those before it do not reach the share of what top-k left; the first stays.
    keep = mass - ordered < share[:, None] * mass[:, -1:]
    keep[:, 0] = True
    return ordered * keep, ids


def _pick(weights: Tensor, draws: Tensor) -> Tensor:
    """[N, V] weights and [N] numbers of [0, 1): the index at which their running sum passes it."""
    mass = weights.cumsum(-1)
    found = torch.searchsorted(mass, draws[:, None] * mass[:, -1:], right=True).squeeze(1)
    # Rounding may point one past the last weight that is not zero.
    last = (weights > 0).long().cumsum(-1).argmax(-1)
    return torch.minimum(found, last)
