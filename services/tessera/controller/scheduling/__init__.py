"""Who runs where and when: nodes, queues and work kept current by deltas, and one pass. Pure."""
