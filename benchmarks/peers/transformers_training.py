"""The same training by transformers: its model of the same sizes in its Trainer, under torchrun.

Writes tokens/s of the measured steps. Where a default of the Trainer costs time and may be left
out, it is: saving, logging, evaluation, the search for weights without a gradient.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DataCollatorForLanguageModeling,
    EncoderDecoderModel,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    default_data_collator,
    get_cosine_schedule_with_warmup,
)

PAD, UNKNOWN, START, END, MASK, SPECIAL = range(6)
NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Plan = dict[str, Any]


def bert(plan: Plan) -> BertConfig:
    """Sizes of an encoder."""
    sizes = plan["model"]
    return BertConfig(
        vocab_size=plan["vocabulary"],
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=4 * sizes["width"],
        max_position_embeddings=sizes["context"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def gpt2(plan: Plan, **more: object) -> GPT2Config:
    """Sizes of a decoder."""
    sizes = plan["model"]
    return GPT2Config(
        vocab_size=plan["vocabulary"],
        n_embd=sizes["width"],
        n_layer=sizes["layers"],
        n_head=sizes["heads"],
        n_positions=sizes["context"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=START,
        eos_token_id=END,
        use_cache=False,
        **more,
    )


def marian(plan: Plan) -> MarianConfig:
    """Sizes of a Transformer."""
    sizes = plan["model"]
    return MarianConfig(
        vocab_size=plan["vocabulary"],
        d_model=sizes["width"],
        encoder_layers=sizes["layers"],
        decoder_layers=sizes["layers"],
        encoder_attention_heads=sizes["heads"],
        decoder_attention_heads=sizes["heads"],
        encoder_ffn_dim=4 * sizes["width"],
        decoder_ffn_dim=4 * sizes["width"],
        max_position_embeddings=sizes["context"],
        activation_function="relu",
        scale_embedding=True,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=PAD,
        eos_token_id=END,
        forced_eos_token_id=END,
        decoder_start_token_id=START,
        use_cache=False,
    )


def bert2gpt2(plan: Plan) -> EncoderDecoderModel:
    """Both; without the encoder's pooler, which nothing would train."""
    decoder = GPT2LMHeadModel(gpt2(plan, is_decoder=True, add_cross_attention=True))
    model = EncoderDecoderModel(
        encoder=BertModel(bert(plan), add_pooling_layer=False), decoder=decoder
    )
    model.config.decoder_start_token_id = START
    model.config.pad_token_id = PAD
    return model


MODELS = {
    "gpt": lambda plan: GPT2LMHeadModel(gpt2(plan)),
    "bert": lambda plan: BertForMaskedLM(bert(plan)),
    "transformer": lambda plan: MarianMTModel(marian(plan)),
    "bert_gpt": bert2gpt2,
}


def samples(plan: Plan) -> list[dict[str, list[int]]]:
    """Random sequences as long as the context."""
    shape = (plan["batch"] * plan["steps"], plan["model"]["context"])
    sources = torch.randint(SPECIAL, plan["vocabulary"], shape).tolist()
    if plan["task"] == "masked_language_modeling":
        # The collator hides some and makes labels of them.
        return [{"input_ids": source} for source in sources]
    targets = sources
    if plan["task"] == "translation":
        targets = torch.randint(SPECIAL, plan["vocabulary"], shape).tolist()
    return [
        {"input_ids": source, "labels": target}
        for source, target in zip(sources, targets, strict=True)
    ]


def tokenizer(plan: Plan) -> PreTrainedTokenizerFast:
    """Knows which ids are special, which is what the collator asks it."""
    words = [*NAMES, *map(str, range(SPECIAL, plan["vocabulary"]))]
    inner = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, NAMES[UNKNOWN]))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=NAMES[PAD],
        unk_token=NAMES[UNKNOWN],
        cls_token=NAMES[START],
        sep_token=NAMES[END],
        mask_token=NAMES[MASK],
    )


class Clock(TrainerCallback):
    """Takes the time from the end of the last step that is left out to that of the last one."""

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.begin = self.end = 0.0

    def on_step_end(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        """Of every step."""
        self.end = time.perf_counter()
        if state.global_step == self.skip:
            self.begin = self.end


def optimizer_of(model: PreTrainedModel) -> torch.optim.AdamW:
    """The one that everybody has."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
        fused=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    plan = json.loads(told.plan.read_text())
    arguments = TrainingArguments(
        output_dir=str(told.out.parent / "trainer"),
        max_steps=plan["steps"],
        per_device_train_batch_size=plan["batch"] // 2,
        max_grad_norm=1.0,
        use_cpu=True,
        ddp_backend="gloo",
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    torch.manual_seed(0)
    model = MODELS[plan["family"]](plan)
    masked = plan["task"] == "masked_language_modeling"
    optimizer = optimizer_of(model)
    clock = Clock(plan["skip"])
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=samples(plan),
        data_collator=DataCollatorForLanguageModeling(tokenizer(plan), mlm_probability=0.15)
        if masked
        else default_data_collator,
        optimizers=(optimizer, get_cosine_schedule_with_warmup(optimizer, 1, plan["steps"])),
        callbacks=[clock],
    )
    trainer.train()
    if arguments.process_index == 0:
        tokens = (plan["steps"] - plan["skip"]) * plan["batch"] * plan["tokens"]
        speed = tokens / (clock.end - clock.begin)
        told.out.write_text(json.dumps({"tokens_per_second": speed}))


if __name__ == "__main__":
    main()
