"""Continuous batching over a paged cache. Knows neither Ray nor gRPC."""
