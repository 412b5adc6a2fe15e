"""Texts that are read in one step: through the model, and what its heads say of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tessera.inference.engine.batch import Batch, fill_up
from tessera.inference.engine.finite import NotFinite
from tessera.inference.engine.packing import pack
from tessera.inference.engine.pooling import CHOICE, HeadOutput, PoolingInput
from tessera.inference.engine.weighing import Weighing, weigh
from tessera.models.head import Head, Per
from tessera.models.inputs import Inputs
from tessera.models.model import Model
from tessera.models.tasks import kind_of

T = TypeVar("T")

Said = HeadOutput | NotFinite | Weighing
"""What a head says of a text; a `Weighing` where the rest is for another step."""


def read(
    model: Model,
    texts: Sequence[PoolingInput | Weighing],
    device: torch.device,
    places: int | None = None,
) -> list[Said]:
    """What the heads say of texts, in their order.

    Args:
        model: that reads them.
        texts: may ask different heads; of some a part may have been weighed already.
        device: where the model is.
        places: at which a vocabulary may be weighed: what is left is for another step; None: all.
    """
    rows = {row.name: row for row in kind_of(model.config.task).heads}
    new: dict[str, dict[int, PoolingInput]] = defaultdict(dict)
    begun: dict[str, dict[int, Weighing]] = defaultdict(dict)
    for index, text in enumerate(texts):
        if isinstance(text, Weighing):
            begun[text.text.head][index] = text
        else:
            new[text.head][index] = text
    said: dict[int, Said] = {}
    for name in dict.fromkeys([*new, *begun]):
        row = rows[name]
        if row.per is Per.PLACE:
            states = _through(new[name], partial(_states, model, row, device), _are_finite)
            weighed = {n: Weighing(new[name][n], hidden) for n, hidden in states.items()}
            weighed.update(begun[name])
            weigh(model, row, list(weighed.values()), places)
            results = {n: each for n, each in weighed.items() if not each.left}
            said.update({n: each for n, each in weighed.items() if each.left})
            whole = {n: each.result() for n, each in results.items()}
        else:
            check = partial(_say_something, model, name)
            whole = _through(new[name], partial(_outputs, model, row, device), check)
        fine = _say_something(model, name, list(whole.values()))
        pairs = zip(whole.items(), fine, strict=True)
        said.update({n: output if sound else NotFinite() for (n, output), sound in pairs})
    return [said[index] for index in range(len(texts))]


def _through(
    texts: Mapping[int, PoolingInput],
    run: Callable[[Sequence[PoolingInput]], list[T]],
    check: Callable[[Sequence[T]], list[bool]],
) -> dict[int, T]:
    """What comes of texts of any lengths, run in groups of about one length.

    Where rows of a batch are filled up, numbers that are not finite may come from what fills them:
    0 * NaN is NaN. So a text that seems broken is read again among texts of its own length.
    """
    found: dict[int, T] = {}
    numbers = list(texts)
    for group in pack([len(text.tokens) for text in texts.values()]):
        rows = [numbers[index] for index in group]
        found.update(zip(rows, run([texts[row] for row in rows]), strict=True))
        by_lengths: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in rows:
            by_lengths[len(texts[row].tokens), len(texts[row].written)].append(row)
        if len(by_lengths) == 1:
            continue
        sound = dict(zip(rows, check([found[row] for row in rows]), strict=True))
        for alike in by_lengths.values():
            if again := [row for row in alike if not sound[row]]:
                found.update(zip(again, run([texts[row] for row in again]), strict=True))
    return found


def _are_finite(states: Sequence[Tensor]) -> list[bool]:
    """Of the states of texts, [K, width] each."""
    return [bool(hidden.isfinite().all()) for hidden in states]


def _say_something(model: Model, head: str, outputs: Sequence[HeadOutput]) -> list[bool]:
    return [_is_finite(model, head, output) for output in outputs]


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


def _outputs(
    model: Model, row: Head, device: torch.device, texts: Sequence[PoolingInput]
) -> list[HeadOutput]:
    """What a head says of whole texts, or of each of their tokens."""
    inputs, lengths = _inputs(row, device, texts)
    found = getattr(model(inputs), row.output).float().cpu().numpy()
    if row.per is Per.TEXT:
        return list(found)
    return [of[:length] for of, length in zip(found, lengths, strict=True)]


def _states(
    model: Model, row: Head, device: torch.device, texts: Sequence[PoolingInput]
) -> list[Tensor]:
    """States at the places of texts, [K, width] each."""
    inputs, _ = _inputs(row, device, texts)
    return list(torch.split(model.at_places(row, inputs), [len(text.places) for text in texts]))


def _inputs(
    row: Head, device: torch.device, texts: Sequence[PoolingInput]
) -> tuple[Inputs, list[int]]:
    """Texts as a batch, and their lengths."""
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
    return inputs, batch.lengths


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
