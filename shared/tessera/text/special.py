"""Special tokens. Needs no library."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
"""Ends every text of the training data; also where a generation begins and ends."""
