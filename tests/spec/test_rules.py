"""Rules of tasks, tuning, data and families: exact reason and field of each, and that all fire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tessera.spec.rules.problem
from tessera import errors
from tessera.spec import check
from tessera.spec.document import parse_document

GPT = "model: {family: gpt}\n"
BERT = "model: {family: bert}\n"
BOTH = "model: {family: bert_gpt}\n"
CLASSES = BERT + "task: {kind: classification}\n"
TAGGING = BERT + "task: {kind: token_classification}\n"
TRANSLATE = "model: {family: transformer}\n"
TEXT = "data: {files: ['stdlib://**']}\n"
TABLE = "data: {files: ['s3://a/x.jsonl']}\n"

# spec without its name, reason, field, place of that field or what is around it, words
BAD = {
    "task of another family": (
        GPT + "task: {kind: translation}\n" + TEXT,
        "TASK_NOT_FOR_FAMILY", "task.kind", "3:14", "task of bert_gpt, transformer",
    ),
    "decoder of a bert": (
        "model: {family: bert, decoder_layers: 3}\n" + TEXT,
        "FIELD_NOT_FOR_FAMILY", "model.decoder_layers", "2:39", "no encoder beside a decoder",
    ),
    "nothing to share": (
        "model: {family: gpt, share_embeddings: false}\n" + TEXT,
        "FIELD_NOT_FOR_FAMILY", "model.share_embeddings", "2:40", "leave this out",
    ),
    "heads of keys": (
        "model: {family: gpt, heads: 8, kv_heads: 3}\n" + TEXT,
        "KV_HEADS_DO_NOT_DIVIDE_HEADS", "model.kv_heads", "2:42", "8 heads; 2 would",
    ),
    "odd heads": (
        "model: {family: gpt, heads: 4, width: 60, positions: rotary}\n" + TEXT,
        "ROTARY_HEAD_ODD", "model.positions", "2:54", "an odd 15",
    ),
    "base of no rotary positions": (
        "model: {family: gpt, rotary_base: 500000}\n" + TEXT,
        "BASE_WITHOUT_ROTARY", "model.rotary_base", "2:35", "set model.positions to rotary",
    ),
    "base of a version's other positions": (
        "model: {family: gpt, init: {from: a}, positions: learned, rotary_base: 500000}\n" + TEXT,
        "BASE_WITHOUT_ROTARY", "model.rotary_base", "2:72", "leave this out",
    ),
    "labels of a language": (
        GPT + "task:\n  labels: [a, b]\n" + TEXT,
        "FIELD_NOT_FOR_TASK", "task.labels", "4:11",
        "only for classification, sentiment, token_classification",
    ),
    "many classes of tokens": (
        BERT + "task: {kind: token_classification, multi_label: true}\n" + TABLE,
        "FIELD_NOT_FOR_TASK", "task.multi_label", "3:49", "only for classification",
    ),
    "stride of a language": (
        BERT + "task: {stride: 0}\n" + TEXT,
        "FIELD_NOT_FOR_TASK", "task.stride", "3:16", "question_answering",
    ),
    "masks of a gpt": (
        GPT + "task: {mask_probability: 0.2}\n" + TEXT,
        "FIELD_NOT_FOR_TASK", "task.mask_probability", "3:26", "masked_language_modeling, joint",
    ),
    "packing of classes": (
        BERT + "task: {kind: classification, packing: false}\n" + TABLE,
        "FIELD_NOT_FOR_TASK", "task.packing", "3:39", "only for masked_language_modeling",
    ),
    "weights of one loss": (
        BERT + "task: {masked_weight: 2}\n" + TEXT,
        "FIELD_NOT_FOR_TASK", "task.masked_weight", "3:23", "only for joint",
    ),
    "pooling of a language": (
        GPT + "task: {pooling: mean}\n" + TEXT,
        "FIELD_NOT_FOR_TASK", "task.pooling", "3:17", "leave it out",
    ),
    "smoothed and many": (
        BERT + "task: {kind: classification, multi_label: true, label_smoothing: 0.1}\n" + TABLE,
        "FIELD_NOT_FOR_TASK", "task.label_smoothing", "3:66", "multi_label",
    ),
    "smoothed embeddings": (
        BERT + "task: {kind: sentence_embedding, label_smoothing: 0.1}\n" + TABLE,
        "FIELD_NOT_FOR_TASK", "task.label_smoothing", "3:51", "leave it out",
    ),
    "no loss": (
        BOTH + "task: {masked_weight: 0, next_weight: 0}\n" + TEXT,
        "WEIGHTS_ALL_ZERO", "task.masked_weight", "3:23", "there is no loss",
    ),
    "one class": (
        BERT + "task: {kind: sentiment, labels: [good]}\n" + TABLE,
        "ONE_LABEL", "task.labels", "3:33", "nothing to tell apart",
    ),
    "first state of a gpt": (
        GPT + "task: {kind: sentiment, pooling: first}\n" + TABLE,
        "POOLING_SEES_NOTHING", "task.pooling", "3:34", "`last` or `mean`",
    ),
    "windows that stand still": (
        BERT + "task: {kind: question_answering, stride: 64}\n"
        "train: {sequence_length: 64}\n" + TABLE,
        "STRIDE_TOO_LARGE", "task.stride", "3:42", "16 would do",
    ),
    "classes of plain text": (
        CLASSES + TEXT,
        "FORMAT_NOT_FOR_TASK", "data.format", "4:7",
        "classification cannot be learned from `text`; it takes jsonl, csv, tsv, parquet, dataset",
    ),
    "translation of plain text": (
        TRANSLATE + TEXT,
        "FORMAT_NOT_FOR_TASK", "data.format", "3:7", "data.target_files",
    ),
    "a language of pairs": (
        GPT + "data: {files: ['s3://a/x'], target_files: ['s3://a/y']}\n",
        "FORMAT_NOT_FOR_TASK", "data.format", "3:7", "cannot be learned from `parallel`",
    ),
    "no translations": (
        TRANSLATE + "data: {files: ['s3://a/x'], format: parallel}\n",
        "TARGETS_MISSING", "data.target_files", "3:7", "translations of data.files",
    ),
    "no translations to evaluate on": (
        TRANSLATE + "data:\n  files: ['s3://a/x']\n  target_files: ['s3://a/y']\n"
        "  validation_files: ['s3://a/v']\n",
        "TARGETS_MISSING", "data.validation_target_files", "4:3", "of data.validation_files",
    ),
    "translations of a table": (
        TRANSLATE + "data: {files: ['s3://a/x'], format: csv, target_files: ['s3://a/y']}\n",
        "TARGETS_WITHOUT_PARALLEL", "data.target_files", "3:56", "in its columns",
    ),
    "files without partners": (
        TRANSLATE + "data: {files: ['s3://a/x', 's3://a/y'], target_files: ['s3://a/z']}\n",
        "FILES_NOT_PAIRED", "data.target_files", "3:55", "1 files cannot be translations of the 2",
    ),
    "translations of nothing": (
        TRANSLATE + "data: {files: ['s3://a/x'], target_files: ['s3://a/y'], "
        "validation_target_files: ['s3://a/z']}\n",
        "FILES_NOT_PAIRED", "data.validation_target_files", "3:82", "the 0 in",
    ),
    "unknown role": (
        CLASSES + "data:\n  files: ['s3://a/x.csv']\n  columns: {text: body, lable: stars}\n",
        "UNKNOWN_ROLE", "data.columns[lable]", "6:32",
        "classification has no role `lable`; it has text, text_pair, label",
    ),
    "columns of plain text": (
        GPT + "data: {files: ['s3://a/x'], columns: {text: body}}\n",
        "COLUMNS_NOT_FOR_FORMAT", "data.columns", "3:38", "`text` has no columns",
    ),
    "header of JSON": (
        CLASSES + "data: {files: ['s3://a/x.jsonl'], header: true}\n",
        "HEADER_NOT_FOR_FORMAT", "data.header", "4:43", "only csv, tsv have",
    ),
    "delimiter of a tsv": (
        CLASSES + "data: {files: ['s3://a/x.tsv'], delimiter: ';'}\n",
        "DELIMITER_NOT_FOR_FORMAT", "data.delimiter", "4:44", "set data.format to csv",
    ),
    "columns joined by braces that do not close": (
        CLASSES + "data:\n  files: ['s3://a/x.csv']\n  columns: {text: '{title} {body'}\n",
        "INVALID_TEMPLATE", "data.columns[text]", "6:19", "expected '}' before end",
    ),
    "columns joined with a form": (
        CLASSES + "data:\n  files: ['s3://a/x.csv']\n  columns: {text: '{title:>9}'}\n",
        "INVALID_TEMPLATE", "data.columns[text]", "6:19", "the name of a column and nothing else",
    ),
    "columns joined to words": (
        TAGGING + "data:\n  files: ['s3://a/x.csv']\n  columns: {tokens: '{a} {b}'}\n",
        "INVALID_TEMPLATE", "data.columns[tokens]", "6:21", "tokens is none; name one column",
    ),
    "names of classes without classes": (
        GPT + "data: {files: ['s3://a/x.csv'], label_names: {1: one}}\n",
        "LABEL_NAMES_NOT_FOR_TASK", "data.label_names", "3:46", "language_modeling has no classes",
    ),
    "name of a class that there is not": (
        BERT
        + "task: {kind: classification, labels: [a, b]}\n"
        + "data:\n  files: ['s3://a/x.csv']\n  label_names: {1: a, 2: c}\n",
        "UNKNOWN_LABEL_NAME", "data.label_names[2]", "6:26", "`c` is none of task.labels",
    ),
    "a file twice": (
        CLASSES + "data:\n  files: ['s3://a/x.csv', 's3://a/y.csv', 's3://a/x.csv']\n",
        "FILE_NAMED_TWICE", "data.files[2]", "5:43", "is data.files[0] already",
    ),
    "trained on and evaluated on": (
        CLASSES + "data:\n  files: ['dataset://a/b']\n  validation_files: ['dataset://a/b']\n",
        "FILE_NAMED_TWICE", "data.validation_files[0]", "6:22", "is data.files[0] already",
    ),
    "a pair twice": (
        TRANSLATE + "data: {files: ['s3://a/x', 's3://a/x'], target_files: [&y 's3://a/y', *y]}\n",
        "FILE_NAMED_TWICE", "data.files[1]", "3:28", "is data.files[0] already",
    ),
    "data set among files": (
        CLASSES + "data: {files: ['s3://a/x.csv', 'dataset://a/b'], format: csv}\n",
        "FORMAT_NOT_FOR_FILES", "data.files[1]", "4:32", "takes no dataset://",
    ),
    "file among data sets": (
        CLASSES + "data: {files: ['dataset://a/b'], validation_files: ['s3://a/x.csv']}\n",
        "FORMAT_NOT_FOR_FILES", "data.validation_files[0]", "4:53", "takes only dataset://",
    ),
    "files of several formats": (
        GPT + "data: {files: ['s3://a/x.jsonl', 's3://a/y.json', 's3://a/z.csv.gz']}\n",
        "FORMATS_DIFFER", "data.files[2]", "3:51",
        "`s3://a/z.csv.gz` is `csv` by its ending, but `s3://a/x.jsonl` is `jsonl`; take files",
    ),
    "uploads of several formats": (
        BERT + f"data: {{files: ['blob://{'a' * 64}/x.py', 'blob://{'b' * 64}/y.json']}}\n",
        "FORMATS_DIFFER", "data.files[1]", "3:96", "`y.json` is `jsonl` by its ending, but `x.py`",
    ),
    "another format to evaluate on": (
        CLASSES + "data: {files: ['s3://a/x.csv'], validation_files: ['s3://a/y.tsv'], "
        "columns: {text: '0'}, header: false}\n",
        "FORMATS_DIFFER", "data.validation_files[0]", "4:52", "or set data.format",
    ),
    "held out twice": (
        GPT + "data: {files: ['s3://a/x'], held_out: 0.1, validation_files: ['s3://a/y']}\n",
        "HELD_OUT_AND_VALIDATION", "data.held_out", "3:39", "leave one of them out",
    ),
    "too few bytes": (
        TRANSLATE + "tokenizer: {vocab_size: 260}\n"
        "data: {files: ['s3://a/x'], target_files: ['s3://a/y']}\n",
        "VOCABULARY_TOO_SMALL", "tokenizer.vocab_size", "3:25", "at least 261",
    ),
    "learned and given": (
        GPT + "tokenizer: {path: 's3://a/t.json', lowercase: true}\n" + TEXT,
        "TOKENIZER_FIELD_WITH_PATH", "tokenizer.lowercase", "3:47", "tokenizer.path brings one",
    ),
    "learned and the version's": (
        "model: {family: gpt, init: {from: a}}\ntokenizer: {kind: unigram}\n" + TEXT,
        "TOKENIZER_FIELD_WITH_INIT", "tokenizer.kind", "3:19", "model.init brings one",
    ),
    "adapters without a method": (
        GPT + "tuning: {lora: {rank: 4}}\n" + TEXT,
        "LORA_WITHOUT_METHOD", "tuning.lora", "3:16", "set tuning.method to lora",
    ),
    "thawed past the end": (
        GPT + "tuning: {method: frozen, freeze_steps: 11}\ntrain: {steps: 10}\n" + TEXT,
        "FREEZE_STEPS", "tuning.freeze_steps", "3:40", "10 steps never comes to step 11",
    ),
    "thawed, never frozen": (
        GPT + "tuning: {freeze_steps: 5}\n" + TEXT,
        "FREEZE_STEPS", "tuning.freeze_steps", "3:24", "nothing is frozen",
    ),
    "steps and epochs": (
        GPT + "train: {steps: 10, epochs: 2}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "train.epochs", "3:28", "`train.steps` says the same",
    ),
    "steps and a least number": (
        GPT + "train: {steps: 10, min_steps: 2}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "train.min_steps", "3:31", "`train.steps` says the same",
    ),
    "evaluations as a share and in epochs": (
        GPT + "train: {eval_every_ratio: 0.1, eval_every_epochs: 1}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "train.eval_every_ratio", "3:27", "`train.eval_every_epochs` says",
    ),
    "versions as a share and in steps": (
        GPT + "publish: {every_ratio: 0.1, every: 0}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "publish.every_ratio", "3:24", "`publish.every` says",
    ),
    "warm-up in two units": (
        GPT + "train: {warmup_ratio: 0.1, warmup_steps: 0}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "train.warmup_ratio", "3:23", "`train.warmup_steps` says the same",
    ),
    "evaluations in two units": (
        GPT + "train: {eval_every: 0, eval_every_epochs: 1}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "train.eval_every_epochs", "3:43", "leave one of the two out",
    ),
    "versions in two units": (
        GPT + "train: {epochs: 4}\npublish: {every: 5, every_epochs: 0.5}\n" + TEXT,
        "MUTUALLY_EXCLUSIVE", "publish.every_epochs", "4:35", "`publish.every` says the same",
    ),
    "part that is not there": (
        "model: {family: gpt, init: {encoder: a}}\n" + TEXT,
        "INIT_PARTS", "model.init.encoder", "2:38", "a gpt has no encoder",
    ),
    "whole and part": (
        "model: {family: bert_gpt, init: {from: a, decoder: b}}\n" + TEXT,
        "INIT_PARTS", "model.init.from", "2:40", "leaves no part open",
    ),
    "start from nothing": (
        "model: {family: gpt, init: {}}\n" + TEXT,
        "INIT_PARTS", "model.init", "2:28", "names no version",
    ),
    "part of no version": (
        "model: {family: bert_gpt, init: {decoder: a@b}}\n" + TEXT,
        "INVALID_REFERENCE", "model.init.decoder", "2:43", "SET@VERSION",
    ),
    "no data set": (
        CLASSES + "data: {files: ['dataset://a/b/c']}\n",
        "BAD_URL", "data.files[0]", "4:16", "dataset://OWNER/NAME",
    ),
    "data set as a tokenizer": (
        GPT + "tokenizer: {path: 'dataset://a/b'}\n" + TEXT,
        "BAD_URL", "tokenizer.path", "3:19", "data.files only",
    ),
    "translation that was not uploaded": (
        TRANSLATE + "data: {files: ['s3://a/x'], target_files: [y.de]}\n",
        "FILE_NOT_UPLOADED", "data.target_files[0]", "3:44", "client must upload",
    ),
    "more workers to begin with": (
        GPT + TEXT + "resources: {workers: 2, min_workers: 3}\n",
        "TOO_FEW_WORKERS", "resources.min_workers", "4:38", "fewest",
    ),
    "one accelerator and a half": (
        GPT + TEXT + "resources: {accelerator: {type: GPU, count: 1.5}}\n",
        "ACCELERATOR_COUNT", "resources.accelerator.count", "4:45", "whole ones",
    ),
    "slice of GPUs": (
        GPT + TEXT + "resources: {accelerator: {type: H100, topology: 2x2}}\n",
        "TPU_TOPOLOGY", "resources.accelerator.topology", "4:49", "only TPUs",
    ),
    "secret for the system": (
        GPT + TEXT + "secrets: {LD_PRELOAD: {env: A}}\n",
        "RESERVED_VARIABLE", "secrets[LD_PRELOAD]", "4:23", "choose another name",
    ),
    "secret that is nowhere": (
        GPT + TEXT + "secrets: {A: {}}\n",
        "SECRET_SOURCE", "secrets[A]", "4:14", "here is none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_spec(name):
    text, reason, field, place, words = BAD[name]
    document = parse_document(f"name: a\n{text}", "job.yaml", Path())
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check(document.spec)
    assert caught.value.reason == reason, caught.value.message
    assert len(caught.value.violations) == 1, caught.value.violations
    assert caught.value.violations[0].field == field
    located = document.locate(caught.value)
    assert located.message.startswith(f"job.yaml:{place}: {field}: "), located.message
    assert words in located.message
    assert "\n" not in located.message


def test_every_rule_is_tried():
    folder = Path(tessera.spec.rules.problem.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    reasons = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source))
    tried = {row[1] for row in BAD.values()}
    elsewhere = Path(__file__).with_name("test_check.py").read_text()
    assert "LORA_WITHOUT_METHOD" in reasons
    assert {reason for reason in reasons - tried if f'"{reason}"' not in elsewhere} == set()


@pytest.mark.parametrize(
    "text",
    [
        CLASSES + "data: {files: ['s3://a/x.csv'], columns: {text: '0'}, header: false}\n",
        CLASSES + "data: {files: ['dataset://imdb?split=train'], validation_files: "
        "['dataset://o/imdb?config=plain&split=test', 'dataset:///data/saved set?split=a']}\n",
        TRANSLATE + "data: {files: ['s3://a/*.en', x], target_files: ['s3://a/*.de']}\n",
        TRANSLATE + "data: {files: ['hf://datasets/a/b/x.parquet'], columns: {source: de}}\n",
        BOTH + "task: {next_weight: 0}\n" + TEXT,
        BOTH + "data: {files: ['s3://a/x'], target_files: ['s3://a/y']}\n",
        "model: {family: bert_gpt, init: {encoder: a, decoder: b@3}}\n"
        "tuning: {freeze: [encoder], freeze_steps: 1000}\n" + TEXT,
        "model: {family: bert, init: {from: a}}\n"
        "task: {kind: question_answering, stride: 64}\n" + TABLE,
        # The base of a preset goes with its positions, and a version has its own.
        "model: {family: gpt, preset: llama-8b, positions: learned}\n" + TEXT,
        "model: {family: gpt, init: {from: a}, rotary_base: 500000}\n" + TEXT,
        "model: {family: gpt, positions: rotary, rotary_base: 1000000.0}\n" + TEXT,
        GPT + "data: {files: ['s3://a/x.py', 's3://a/y.json'], format: text}\n",
        GPT + "data: {files: ['s3://a/x.json', 's3://a/y.ndjson.zst']}\n",
        # What an entrypoint reads is its own affair.
        CLASSES + "entrypoint: 'mine:build'\n" + TEXT,
        GPT + "tuning: {method: lora, freeze: [heads], freeze_steps: 5}\n" + TEXT,
        BERT + "tokenizer: {kind: character, vocab_size: 8}\n" + TEXT,
        # How many steps there are is known only to the trainer.
        GPT + "train: {epochs: 0.25, warmup_steps: 100000, eval_every: 7}\n" + TEXT,
        GPT + "train: {epochs: 2}\ntuning: {freeze: [heads], freeze_steps: 99999}\n" + TEXT,
        GPT + "train: {steps: 9, eval_every_epochs: 1}\npublish: {every_epochs: 2}\n" + TEXT,
    ],
)  # fmt: skip
def test_good_spec(text):
    check(parse_document(f"name: a\n{text}", "job.yaml", Path()).spec, uploaded=False)


@pytest.mark.parametrize(
    "url",
    [
        "dataset://",
        "dataset:///",
        "dataset://a b",
        "dataset://../secret",
        "dataset://a/b?splitt=x",
        "dataset://a/b?split=",
        "dataset://a/b?split",
        "dataset://a/b#x",
    ],
)
def test_data_sets_that_are_none(url):
    spec = parse_document(f"name: a\n{CLASSES}data: {{files: ['{url}']}}\n", "x", Path()).spec
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check(spec)
    assert caught.value.reason == "BAD_URL"
