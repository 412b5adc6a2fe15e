"""Weights as versions: boxes, manifests, the planner and the clients that move slices.

`box`, `dtypes`, `manifest`, `coverage`, `placement`, `plan` and `strided` are pure; `coordinator`,
`push` and `pull` speak gRPC to the parameter service.
"""
