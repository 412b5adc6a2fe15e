"""Two ranks that prepare data as ranks of one host, then as ranks of two hosts.

argv: folder with `a.txt` and `b.txt`, root of the cache of each host. Writes one JSON list: what
became of each, by rank.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

import torch.distributed as dist

from tessera import errors
from tessera.data.settings import DataSettings
from tessera.trainer.data.corpus import prepare
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.data.vocabulary import learn
from tessera.trainer.ranks import Ranks


def outcome(ranks, file, root):
    def tokenizer_of(texts):
        return learn(ranks, texts, TokenizerSettings(vocab_size=270))

    def read_blob(digest):
        raise errors.NotFoundError(digest)

    try:
        corpus, _ = prepare(ranks, DataSettings(files=(str(file),)), read_blob, tokenizer_of, root)
    except errors.TesseraError as error:
        return error.reason
    return [corpus.digest, len(corpus.train), len(corpus.held_out)]


def run(rank):
    folder, *roots = (Path(argument) for argument in sys.argv[1:])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2
    )
    together = Ranks(rank=rank, world_size=2, local_rank=rank)
    apart = Ranks(rank=rank, world_size=2, local_rank=0)
    found = {
        "one host": outcome(together, folder / "a.txt", roots[0]),
        "two hosts": outcome(apart, folder / "a.txt", roots[rank]),
        "other data": outcome(apart, folder / ("a.txt", "b.txt")[rank], roots[rank]),
        "no data": outcome(apart, folder / ("a.txt", "none.txt")[rank], roots[rank]),
    }
    dist.destroy_process_group()
    return found


if __name__ == "__main__":
    # Forked, so that torch is imported once.
    with multiprocessing.get_context("fork").Pool(2) as ranks:
        sys.stdout.write(json.dumps(ranks.map(run, range(2), chunksize=1)))
