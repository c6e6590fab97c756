"""Convolutions whose weights a style scales, a sample at a time (Karras et al. 2020, sec. 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """What brings each output channel back to unit variance: eq. 3.

    weight [O, I, K, K], style [N, I] -> [N, O]. The sum over a modulated weight's square is a product of matrices.
    """
    return torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).t() + EPSILON)


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, *, up: bool = False) -> Tensor:
    """Convolve each sample with weights that its style scales (eq. 1), by scaling its activations instead.

    x [N, I, H, W], weight [O, I, K, K], style [N, I] -> [N, O, H, W]; with `up` [N, O, 2H + K - 2, …], a transposed
    convolution of stride 2 without padding. One convolution with one set of weights serves the batch; what comes out
    is still to be multiplied with `demodulation`.
    """
    x = x * style.to(x.dtype)[:, :, None, None]
    if up:
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return F.conv2d(x, weight, padding=weight.shape[2] // 2)


def modulated_conv_by_weights(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, up: bool = False
) -> Tensor:
    """The same as the paper defines it (eq. 1 to 3): weights are made for each sample, and a grouped convolution takes
    each sample as a group. What the quick form is held against."""
    (n, into, height, width), (out, _, size, _) = x.shape, weight.shape
    weights = weight[None] * style[:, None, :, None, None]
    if demodulate:
        weights = weights * torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON)
    x = x.reshape(1, n * into, height, width)
    if up:
        y = F.conv_transpose2d(x, weights.transpose(1, 2).reshape(n * into, out, size, size), stride=2, groups=n)
    else:
        y = F.conv2d(x, weights.view(n * out, into, size, size), padding=size // 2, groups=n)
    return y.view(n, out, *y.shape[2:])
