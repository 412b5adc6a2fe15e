"""A layer between what stands for a text and its vector. Pure."""

from __future__ import annotations

from dataclasses import dataclass

DENSE_ACTIVATIONS = ("identity", "tanh", "relu", "gelu", "sigmoid", "silu")


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseConfig:
    """A linear layer with an activation.

    Args:
        width: of what it makes.
        activation: one of `DENSE_ACTIVATIONS`.
        bias: whether it adds one.
        residual: whether what comes in is added to what goes out, through a projection of its own
            where the two are not of one width.
    """

    width: int
    activation: str = "tanh"
    bias: bool = True
    residual: bool = False

    def parameters(self, width: int) -> int:
        """Number of weights.

        Args:
            width: of what comes in.
        """
        projected = self.residual and width != self.width
        return (width + int(self.bias)) * self.width + int(projected) * width * self.width
