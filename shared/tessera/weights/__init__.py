"""Weights as versions: boxes, manifests, the planner and the clients that move slices.

`coordinator`, `push` and `pull` speak gRPC to the parameter service; what decides knows no wire.
"""
