"""The tokenizer of a run: given, or learned from the texts that it trains on."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.ranks import Ranks


def learn(
    ranks: Ranks, texts: Iterable[str], settings: TokenizerSettings, given: bytes | None = None
) -> Tokenizer:
    """The same tokenizer on every rank; every rank calls it.

    Args:
        ranks: rank 0 learns, the others take what it has learned.
        texts: to learn from; looked at on rank 0 only.
        settings: what to learn.
        given: a tokenizer.json to take instead; looked at on rank 0 only.

    Raises:
        InvalidArgumentError: VOCABULARY_TOO_SMALL, or `given` is no tokenizer.
    """

    def made() -> bytes:
        if given is not None:
            return Tokenizer.from_json(given).to_json()
        kind, size, special = settings.kind, settings.vocab_size, settings.special
        return train(kind, iter(texts), size, special, lowercase=settings.lowercase).to_json()

    # A model whose texts need no start may read them as they stand.
    content, bare = ranks.on_main(made), not settings.special.start
    return Tokenizer.from_json(content, bare=bare, starts=settings.starts)
