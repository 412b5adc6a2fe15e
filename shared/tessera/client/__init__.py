"""Tessera from Python: `from tessera.client import Client`."""

from tessera.client.client import Client

__all__ = ["Client"]
