"""The tokenizer of a run: given, or learned from the texts that it trains on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tessera.text.file import TokenizerFile
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.ranks import Ranks


def learn(
    ranks: Ranks,
    texts: Iterable[str],
    settings: TokenizerSettings,
    given: TokenizerFile | None = None,
) -> Tokenizer:
    """The same tokenizer on every rank; every rank calls it.

    Args:
        ranks: rank 0 learns, the others take what it has learned.
        texts: to learn from; looked at on rank 0 only.
        settings: what to learn.
        given: a tokenizer to take instead; looked at on rank 0 only.

    Raises:
        InvalidArgumentError: VOCABULARY_TOO_SMALL; INVALID_TOKENIZER or TOKENIZER_WITHOUT_END:
            `given` is no tokenizer, or none that can end a text.
    """

    def made() -> TokenizerFile:
        if given is not None:
            return replace(given, content=given.load().to_json())
        kind, size, special = settings.kind, settings.vocab_size, settings.special
        learned = train(kind, iter(texts), size, special, lowercase=settings.lowercase)
        return TokenizerFile(content=learned.to_json())

    # A model whose texts need no start may read them as they stand.
    bare = not settings.special.start
    return ranks.on_main(made).load(bare=bare, starts=settings.starts)
