"""Whether models say the same of batches: two of transformers, and ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from random_checkpoints import VECTORS
from random_models import CONTEXT
from roundtrip import close
from same_texts import read_of

from tessera.models.huggingface.catalog import ARCHITECTURES
from tessera.models.inputs import Inputs


@dataclass
class Batch:
    """Rows of tokens, filled up on their right, and of encoders some on their left too."""

    tokens: torch.Tensor
    mask: torch.Tensor
    segments: torch.Tensor
    written: torch.Tensor


def batch_of(case, theirs, ours, config):
    """Random tokens, and what is read of a case's texts."""
    generator = np.random.default_rng(case.seed)
    pad = getattr(config, "pad_token_id", None)
    kinds, words, target = 1, config, config
    if case.name == "EncoderDecoderModel":
        words, target = config.encoder, config.decoder
    if case.name.startswith("Bert") and "token_type_ids" in theirs.model_input_names:
        kinds = config.type_vocab_size
    known = np.setdiff1d(np.arange(words.vocab_size), [-1 if pad is None else pad])
    rows = [generator.choice(known, length).tolist() for length in (7, 4)]
    if theirs is not None:
        rows += [read_of(ours, theirs(text).input_ids[:CONTEXT]) for text in case.texts]
    rows = [row for row in rows if row]
    width = max(map(len, rows))
    shape = (len(rows), width)
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    filler = 0 if pad is None else pad
    if ARCHITECTURES[case.name].family != "gpt" and case.name != "BertForSequenceClassification":
        mask[::2, 0] = mask[::2].sum(1) == 1
    return Batch(
        tokens=torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows]),
        mask=mask,
        segments=torch.from_numpy(generator.integers(0, kinds, shape)),
        written=torch.from_numpy(generator.integers(0, target.vocab_size, (len(rows), 6))),
    )


def theirs_say(case, model, batch):
    """Every tensor of numbers, where a mask lets one look."""
    asked = {"input_ids": batch.tokens, "attention_mask": batch.mask.long()}
    if case.name.startswith("Bert"):
        asked["token_type_ids"] = batch.segments
    if model.config.is_encoder_decoder:
        asked["decoder_input_ids"] = batch.written
    found = model(**asked, return_dict=True)
    names = ("logits", "start_logits", "end_logits", "prediction_logits", "last_hidden_state")
    return {name: found[name] for name in names if name in found}


def ours_say(case, module, batch, index):
    """What ours says of the same, by the same names, computed for all places or for some."""
    segments = batch.segments if case.name.startswith("Bert") else None
    found = module(
        Inputs(
            tokens=batch.tokens,
            mask=batch.mask,
            segments=segments,
            decoder_tokens=batch.written,
            index=index,
        )
    )
    if found.vectors is not None:
        return {"vectors": found.vectors}
    if case.name == "BertForQuestionAnswering":
        return dict(zip(("start_logits", "end_logits"), found.logits.unbind(-1), strict=True))
    masked = "prediction_logits" if case.name == "BertForPreTraining" else "logits"
    return {masked: found.masked} if found.logits is None else {"logits": found.logits}


def shown(values, batch):
    """Without what stands over padding."""
    per_token = values.dim() > 1 and values.shape[:2] == batch.mask.shape
    return values[batch.mask] if per_token else values


@torch.inference_mode()
def same_numbers(case, old, new, module, batch):
    rows = [
        Batch(
            tokens=batch.tokens[n : n + 1, first : last + 1],
            mask=batch.mask[n : n + 1, first : last + 1],
            segments=batch.segments[n : n + 1, first : last + 1],
            written=batch.written[n : n + 1],
        )
        for n, row in enumerate(batch.mask)
        for first, last in [row.nonzero()[[0, -1], 0].tolist()]
    ]
    alone = "SequenceClassification" in case.name and new.config.pad_token_id is None
    for part in [*rows, *([] if alone else [batch])]:
        before, after = theirs_say(case, old, part), theirs_say(case, new, part)
        if case.name == "BertForPreTraining":
            after["prediction_logits"] = after.pop("logits")
        assert before.keys() == after.keys()
        for name in before.keys() & after.keys():
            close(shown(after[name], part), shown(before[name], part))
        if case.name in VECTORS:
            states, mask = before["last_hidden_state"], part.mask[..., None]
            before["vectors"] = (states * mask).sum(1) / mask.sum(1)
        for index in (None, part.mask.flatten().nonzero().flatten()):
            for name, values in ours_say(case, module, part, index).items():
                close(shown(values, part), shown(before[name], part))
