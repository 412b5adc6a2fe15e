"""The parameter service: a coordinator of versions, and shards that hold their slices."""
