"""One process as a ranks, small files of every kind, and tiny models."""

from __future__ import annotations

import json
import tempfile

import pytest
import torch
import torch.distributed as dist

from tessera.data.settings import DataSettings
from tessera.models.registry import FAMILIES, build
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.ranks import Ranks
from tessera.trainer.task_settings import TaskSettings
from tessera.trainer.tasks.registry import make_task
from tessera.trainer.tasks.task import TaskContext
from training import make_settings


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """This process alone; what it encodes is kept among the files of the test."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("tmp"))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Ranks(rank=0, world_size=1, local_rank=0)
    dist.destroy_process_group()
    tempfile.tempdir = before


@pytest.fixture
def prepare(ranks, tmp_path):
    """A task and its material from records, or from a text."""

    def file(name, rows):
        path = tmp_path / name
        lines = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(lines)
        return str(path)

    def prepared(
        records, kind, family="bert", *, held_out=None, earlier=(), context=0, settings=(), **task
    ):
        form, end = ("text", "txt") if isinstance(records, str) else ("jsonl", "jsonl")
        data = {
            "files": (file(f"train.{end}", records),),
            "format": form,
            "validation_files": (file(f"held.{end}", held_out or records),),
        }
        if kind == "joint" and form == "jsonl":
            data["columns"] = {"source": "source", "target": "target"}
        found = make_settings(
            **{
                "family": family,
                "data": DataSettings(**data),
                "tokenizer": TokenizerSettings(
                    kind="character" if family != "gpt" else "byte_bpe",
                    vocab_size=300,
                    special=FAMILIES[family].special,
                    starts=FAMILIES[family].starts,
                ),
                "task": TaskSettings(kind=kind, **task),
                "sequence_length": 32,
                "batch_size": 8,
                **dict(settings),
            }
        )
        made = make_task(found)
        work = TaskContext(
            settings=found,
            ranks=ranks,
            read_blob=lambda _: b"",
            labels=earlier,
            model_context=context,
        )
        return made, made.data(work)

    return prepared


def model(family, material, **sizes):
    """A tiny model for the material, always the same."""
    torch.manual_seed(0)
    tokenizer = material.tokenizer
    sizes = {"layers": 1, "heads": 2, "width": 32, "ff_width": 64, "context": 64, **sizes}
    config = FAMILIES[family].config(
        sizes,
        material.task,
        vocab_size=tokenizer.vocab_size,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        mask_id=-1 if tokenizer.mask_id is None else tokenizer.mask_id,
    )
    return build(config)
