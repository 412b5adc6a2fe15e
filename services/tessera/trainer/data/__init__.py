"""What a run learns from: read, split, tokenised, cached, ordered."""
