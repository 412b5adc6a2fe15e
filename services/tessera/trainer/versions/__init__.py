"""From and to the parameter service: what a run starts from, and what it commits."""
