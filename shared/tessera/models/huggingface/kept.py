"""The files of an imported tokenizer as they came: kept as assets, and written again unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

TOKENIZER = "tokenizer.json"
INDEX = "tokenizer_files.json"
"""The asset that names them; a version without it has a tokenizer that was trained here."""

_ORIGINAL = "original/"
"""Before the name of a file whose name is taken by what a model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Files of a tokenizer.

    Args:
        files: content by name.
        lowercase: whether a model reads texts in lower case, which the files do not say.
    """

    files: Mapping[str, bytes]
    lowercase: bool = False

    @property
    def templated(self) -> bool:
        """Whether there is a chat template."""
        settings = json.loads(self.files.get("tokenizer_config.json", b"{}"))
        return bool(settings.get("chat_template")) or any("chat_template" in n for n in self.files)

    def assets(self, tokenizer_json: bytes) -> dict[str, bytes]:
        """All that a version keeps of the tokenizer.

        Args:
            tokenizer_json: what a model reads, which may be none of the files.
        """
        taken = {TOKENIZER: tokenizer_json}
        places = {
            name: name if taken.get(name, content) == content else f"{_ORIGINAL}{name}"
            for name, content in self.files.items()
        }
        index = {"files": places, "lowercase": self.lowercase}
        stored = {places[name]: content for name, content in self.files.items()}
        return {**stored, **taken, INDEX: json.dumps(index, sort_keys=True).encode()}


def read_kept(assets: Mapping[str, bytes]) -> Kept | None:
    """The files that a version keeps; None where its tokenizer was trained here."""
    if INDEX not in assets:
        return None
    index = json.loads(assets[INDEX])
    files = {name: assets[place] for name, place in index["files"].items()}
    return Kept(files=files, lowercase=index["lowercase"])


def carried(assets: Mapping[str, bytes]) -> dict[str, bytes]:
    """The assets of a version's tokenizer, for another version that has the same one."""
    places = json.loads(assets[INDEX])["files"].values() if INDEX in assets else ()
    return {name: assets[name] for name in (TOKENIZER, INDEX, *places) if name in assets}
