"""Texts that are read in one step: through the model, and what its heads say of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tessera.inference.engine.batch import Batch, fill_up
from tessera.inference.engine.finite import NotFinite
from tessera.inference.engine.packing import pack
from tessera.inference.engine.pooling import CHOICE, HeadOutput, PoolingInput
from tessera.models.head import Head, Per
from tessera.models.inputs import Inputs
from tessera.models.model import Model
from tessera.models.tasks import kind_of

LOGITS_BYTES = 64 << 20
"""Of logits of places that are in memory at once: what a step takes beside the model's states."""
_FLOAT_BYTES = 4


def read(
    model: Model, texts: Sequence[PoolingInput], device: torch.device
) -> list[HeadOutput | NotFinite]:
    """What the heads say of texts, in their order.

    Where rows of a batch are filled up, numbers that are not finite may come from what fills them:
    0 * NaN is NaN. So a text that seems broken is read again among texts of its own length.

    Args:
        model: that reads them.
        texts: may ask different heads.
        device: where the model is.
    """
    said: dict[int, HeadOutput | NotFinite] = {}
    for head in dict.fromkeys(text.head for text in texts):
        asked = [row for row, text in enumerate(texts) if text.head == head]
        for group in pack([len(texts[row].tokens) for row in asked]):
            rows = [asked[index] for index in group]
            found = _read_finite(model, head, [texts[row] for row in rows], device)
            said.update(zip(rows, found, strict=True))
    return [said[row] for row in range(len(texts))]


def _read_finite(
    model: Model, head: str, texts: Sequence[PoolingInput], device: torch.device
) -> list[HeadOutput | NotFinite]:
    """What a head says of texts of any lengths."""
    outputs = _read(model, head, texts, device)
    broken = {row for row, output in enumerate(outputs) if not _is_finite(model, head, output)}
    by_lengths: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        by_lengths[len(text.tokens), len(text.written)].append(row)
    if broken and len(by_lengths) > 1:
        for alike in by_lengths.values():
            rows = [row for row in alike if row in broken]
            again = _read(model, head, [texts[row] for row in rows], device) if rows else []
            for row, output in zip(rows, again, strict=True):
                outputs[row] = output
                if _is_finite(model, head, output):
                    broken.remove(row)
    return [NotFinite() if row in broken else output for row, output in enumerate(outputs)]


def _is_finite(model: Model, head: str, output: HeadOutput) -> bool:
    """Whether what a head says of a text says something.

    A model may rule something out, by -inf; not a number, +inf and a choice in which everything
    is ruled out say nothing.
    """
    if head == "vectors":
        return bool(np.isfinite(output).all())
    if head == "language":
        return not np.isnan(output).any()
    if output.dtype == CHOICE:
        # One that is not a number, or +inf, spoils the sum that all are compared with.
        return bool(np.isfinite(output["logprob"].max(axis=-1)).all())
    if head == "classes" and model.config.task.multi_label:
        return not (np.isnan(output) | np.isposinf(output)).any()
    # The greatest of a row is finite, not a number, or +inf; it is -inf if there is nothing else.
    choices = output.max(axis=0 if head == "span" else -1)
    return bool(np.isfinite(choices).all())


def _read(
    model: Model, head: str, texts: Sequence[PoolingInput], device: torch.device
) -> list[HeadOutput]:
    row = next(each for each in kind_of(model.config.task).heads if each.name == head)
    batch = Batch([text.tokens for text in texts], device)
    written = Batch([t.written for t in texts], device) if texts[0].written else None
    inputs = Inputs(
        tokens=batch.tokens,
        mask=batch.mask,
        index=batch.index,
        segments=_segments(texts, device),
        decoder_tokens=None if written is None else written.tokens,
        at=_places(texts, written or batch, device) if row.writes else None,
        # Only the head that is asked computes something.
        masked_at=_places(texts, batch, device, wanted=not row.writes),
        pooled=_pooled(texts, batch, device),
    )
    if row.per is Per.PLACE:
        return _at_places(model, row, inputs, texts)
    found = _numpy(getattr(model(inputs), row.output))
    if row.per is Per.TEXT:
        return list(found)
    return [of[:length] for of, length in zip(found, batch.lengths, strict=True)]


def _at_places(
    model: Model, row: Head, inputs: Inputs, texts: Sequence[PoolingInput]
) -> list[HeadOutput]:
    """What is wanted of a vocabulary at places: never all of it for all places at once."""
    hidden, head = model.at_places(row, inputs), model.heads[row.name]
    words = model.config.target_vocab_size if row.writes else model.config.vocab_size
    parts = torch.split(hidden, max(1, LOGITS_BYTES // (words * _FLOAT_BYTES)))
    counts = np.cumsum([len(text.places) for text in texts])
    if row.writes:
        wanted = torch.tensor([t for text in texts for t in text.targets], device=hidden.device)
        at = torch.split(wanted, [len(part) for part in parts])
        said = [_logprobs(head(part), targets) for part, targets in zip(parts, at, strict=True)]
        return np.split(np.concatenate(said), counts[:-1])
    top_k = min(words, max(text.top_k for text in texts))
    choices = np.concatenate([_likeliest(head(part), top_k) for part in parts])
    split = np.split(choices, counts[:-1])
    return [found[:, : text.top_k].copy() for text, found in zip(texts, split, strict=True)]


def _logprobs(logits: Tensor, targets: Tensor) -> HeadOutput:
    """[K, V] logits and [K] tokens to the tokens' log-probabilities, [K]."""
    exact = logits.float()
    chosen = exact.gather(1, targets[:, None]).squeeze(1)
    total = exact.logsumexp(-1)
    # Beside +inf nothing is merely unlikely: that says nothing, as everything ruled out does.
    return _numpy((chosen - total).masked_fill(total.isinf(), torch.nan))


def _likeliest(logits: Tensor, count: int) -> HeadOutput:
    """[K, V] logits to the likeliest tokens of each place, [K, count] of `CHOICE`."""
    exact = logits.float()
    best = exact.topk(count, dim=-1)
    found = np.empty(best.indices.shape, CHOICE)
    found["token"] = best.indices.cpu().numpy()
    found["logprob"] = _numpy(best.values - exact.logsumexp(-1, keepdim=True))
    return found


def _segments(texts: Sequence[PoolingInput], device: torch.device) -> Tensor | None:
    if not any(text.segments for text in texts):
        return None
    return fill_up([text.segments or (0,) * len(text.tokens) for text in texts], device)


def _pooled(texts: Sequence[PoolingInput], batch: Batch, device: torch.device) -> Tensor | None:
    """[B, T] bool, the tokens that stand for the texts; None: all real ones."""
    if not any(text.unpooled for text in texts):
        return None
    places = torch.arange(batch.width, device=device)
    begin, end = (
        torch.tensor(numbers, device=device)[:, None]
        for numbers in ([text.unpooled for text in texts], batch.lengths)
    )
    return (places >= begin) & (places < end)


def _places(
    texts: Sequence[PoolingInput], batch: Batch, device: torch.device, *, wanted: bool = True
) -> Tensor:
    """[K] places among B * T where something is wanted."""
    places = [
        row * batch.width + place
        for row, text in enumerate(texts)
        for place in (text.places if wanted else ())
    ]
    return torch.tensor(places, dtype=torch.int64, device=device)


def _numpy(x: Tensor) -> HeadOutput:
    return x.float().cpu().numpy()
