"""Loops that make the world match the store."""
