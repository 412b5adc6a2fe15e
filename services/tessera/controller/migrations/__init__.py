"""Alembic migrations, applied when the controller starts."""
