"""The durable store: every transition is one transaction."""
