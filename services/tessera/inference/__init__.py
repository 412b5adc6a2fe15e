"""Replicas that serve a deployed model: engine, weights, gRPC services, Ray actor."""
