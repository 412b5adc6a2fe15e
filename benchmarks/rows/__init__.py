"""Rows of docs/quality.md: each trains through a platform of its own and is held against a peer."""
