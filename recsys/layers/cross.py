"""The cross network of DCN-V2: each layer multiplies the features with the input once more."""

from __future__ import annotations

from torch import Tensor, nn


class CrossLayers(nn.Module):
    """Explicit feature crosses of bounded degree: x_(l+1) = x_0 * (W_l x_l + b_l) + x_l, the product by elements.

    After l layers the output holds every product of up to l + 1 inputs. The matrices are of full rank (Wang et al.,
    'DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems', WWW 2021).

    Args:
        width: Of the input and of the output.
        layers: How many; with none, the output is the input.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, width) -> (B, width)"""
        crossed = inputs
        for layer in self.layers:
            crossed = inputs * layer(crossed) + crossed
        return crossed
