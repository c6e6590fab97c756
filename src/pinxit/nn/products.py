"""Products of many pixels by matrices of their own, on a CPU by oneDNN, which PyTorch keeps for convolutions.

PyTorch's own products of fp32 go to MKL, which on processors that are not Intel's reaches little more than half of what
they can do. A convolution of 1x1 in groups is such products, one for each group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pinxit.nn.ordered import can_order

LANES = 16
"""Channels that a convolution in groups works on at once; of others it is slow."""
MOST_CHANNELS = 256
"""Up to which it is quicker than PyTorch's product."""


class Products:
    """Matrices [S, O, C]: x [P, S, C] -> each of x[:, s] by the transpose of its matrix [P, S, O].

    `order`: whether there will be so many pixels that it pays to put the matrices into the order in which a convolution
    works. That is another for another number of pixels, and in a wrong one a product takes twenty times as long: so it
    is done for parts of the `usual` length alone.
    """

    def __init__(self, matrices: Tensor, order: bool = True) -> None:
        _, self.outputs, inputs = matrices.shape
        fit = all(channels % LANES == 0 and channels <= MOST_CHANNELS for channels in (self.outputs, inputs))
        self.orders = order and fit and matrices.dtype == torch.float32 and can_order(matrices) and with_avx512()
        self.matrices = matrices
        self.in_order: tuple[int, Tensor] | None = None

    def __call__(self, x: Tensor, usual: int) -> Tensor:
        """`usual`: how many pixels there are in most calls."""
        if not self.orders or len(x) != usual:
            return torch.bmm(x.transpose(0, 1), self.matrices.mT).transpose(0, 1)
        count, outputs, inputs = self.matrices.shape
        in_order = self.in_order  # once, as another thread may paint a picture of another size
        if in_order is None or in_order[0] != usual:
            kernels = self.matrices.reshape(-1, inputs, 1, 1).to_mkldnn()
            size = [1, count * inputs, usual, 1]
            ordered = torch.ops.aten.mkldnn_reorder_conv2d_weight(kernels, groups=count, input_size=size)
            self.in_order = in_order = usual, ordered
        pixels = x.reshape(1, usual, 1, -1).permute(0, 3, 1, 2)
        out = torch.ops.mkldnn._convolution_pointwise(
            pixels, in_order[1], None, [0, 0], [1, 1], [1, 1], count, "none", [], ""
        )
        return out.permute(0, 2, 3, 1).view(usual, count, outputs)


def with_avx512() -> bool:
    """The kind of processor on which that was seen to pay."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")
