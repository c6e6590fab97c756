"""Convolutions of finished networks by weights in the order in which oneDNN works.

PyTorch hands oneDNN the weights as they lie in memory, and at each call oneDNN puts them in its own order. In a layer
of many weights and few pixels that takes longer than the convolution itself. Here they are put in order once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Ordered:
    """A convolution, or a transposed one: [N, C, H, W] -> [N, O, h, w], both channels last, without gradients.

    The order is that for the size of the first picture, which is mostly the one for any size; where it is not, oneDNN
    puts the weights in order at each call, as PyTorch does.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0, more: int | None = None
    ) -> None:
        """weight [O, C, k, k]; or [C, O, k, k] of a transposed convolution, with the output's padding `more`; bias
        [O]."""
        self.bias, self.stride, self.padding, self.more = bias, stride, padding, more
        self.orders = can_order(weight)
        # One of the two, as another thread may put them in order meanwhile.
        self._kernels = weight

    @property
    def weight(self) -> Tensor:
        """As it was given."""
        kernels = self._kernels
        if not kernels.is_mkldnn:
            return kernels
        return kernels.to_dense() if self.more is None else kernels.to_dense().transpose(0, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """x is of the weights' dtype."""
        s, p, kernels = [self.stride] * 2, [self.padding] * 2, self._kernels
        if not self.orders:
            if self.more is None:
                return F.conv2d(x, kernels, self.bias, s, p)
            return F.conv_transpose2d(x, kernels, self.bias, s, p, self.more)
        ops, none, ones = torch.ops.mkldnn, ("none", [], ""), [1, 1]
        if self.more is None:
            if not kernels.is_mkldnn:
                self._kernels = kernels = ops._reorder_convolution_weight(kernels, p, s, ones, 1, list(x.shape))
            return ops._convolution_pointwise(x, kernels, self.bias, p, s, ones, 1, *none)
        m = [self.more] * 2
        if not kernels.is_mkldnn:
            self._kernels = kernels = ops._reorder_convolution_transpose_weight(
                kernels, p, m, s, ones, 1, list(x.shape)
            )
        return ops._convolution_transpose_pointwise(x, kernels, self.bias, p, m, s, ones, 1, *none)


def can_order(weight: Tensor) -> bool:
    """Whether this PyTorch has oneDNN, and lets us put such weights in its order."""
    ops = torch.ops.mkldnn
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available() or not on_x86():
        return False
    if not all(hasattr(ops, name) for name in OPERATIONS):
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and ops._is_mkldnn_bf16_supported())


OPERATIONS = (
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_reorder_convolution_transpose_weight",
    "_convolution_transpose_pointwise",
    "_is_mkldnn_bf16_supported",
)
"""Those of PyTorch's compiler, which are not documented; where one is not there, convolutions are PyTorch's."""


def on_x86() -> bool:
    """Elsewhere nothing was measured."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX")
