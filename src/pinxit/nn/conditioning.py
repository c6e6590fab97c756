"""Blocks of networks that a sentence conditions: convolutions of the DCGAN kind, with text beside their features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.init import initialize
from pinxit.nn.norm import BatchNorm2d

SLOPE = 0.2
"""Of the leaky rectifiers."""


def beside(features: Tensor, text: Tensor) -> Tensor:
    """features [N, C, H, W], text [N, T] -> [N, C + T, H, W], the text at every place (Reed et al. 2016, sec. 4.1)."""
    text = text[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, text.to(features.dtype)], dim=1)


def convolved(inputs: int, outputs: int, kernel: int = 3, slope: float | None = SLOPE) -> nn.Sequential:
    """A convolution of stride 1, batch norm over all ranks and a (leaky) rectifier; `slope` None: without the last.

    Kernels 3 and 1 keep the size; 4 takes 4x4 to 1x1.
    """
    conv = nn.Conv2d(inputs, outputs, kernel, padding=1 if kernel == 3 else 0, bias=False)
    return normed(conv, outputs, slope)


def halved(inputs: int, outputs: int, slope: float | None = SLOPE) -> nn.Sequential:
    """A convolution to half the size, batch norm, and a (leaky) rectifier unless `slope` is None."""
    return normed(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), outputs, slope)


def doubled(inputs: int, outputs: int, slope: float | None = 0.0) -> nn.Sequential:
    """A transposed convolution to twice the size, batch norm, and a (leaky) rectifier unless `slope` is None."""
    return normed(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False), outputs, slope)


def unfolded(inputs: int, outputs: int, slope: float | None = 0.0) -> nn.Sequential:
    """1x1 to 4x4, batch norm, and a (leaky) rectifier unless `slope` is None: how a generator begins."""
    return normed(nn.ConvTranspose2d(inputs, outputs, 4, bias=False), outputs, slope)


def normed(layer: nn.Module, channels: int, slope: float | None) -> nn.Sequential:
    """`layer`, batch norm, and a rectifier of that slope below 0 (0: ReLU) unless it is None."""
    rectifier = () if slope is None else (nn.ReLU() if slope == 0 else nn.LeakyReLU(slope),)
    return nn.Sequential(layer, BatchNorm2d(channels, affine=True), *rectifier)


class Bottleneck(nn.Module):
    """What a narrower path of three convolutions adds to its input, rectified (He et al. 2016)."""

    def __init__(self, channels: int, narrow: int, slope: float = 0.0) -> None:
        super().__init__()
        self.path = nn.Sequential(
            convolved(channels, narrow, 1, slope),
            convolved(narrow, narrow, 3, slope),
            convolved(narrow, channels, 3, None),
        )
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """x [N, channels, H, W] -> the same shape."""
        return F.leaky_relu(x + self.path(x), self.slope)


class Projection(nn.Module):
    """A linear layer of vectors, a batch norm over all ranks if wanted, and a rectifier of that slope below 0."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool = False, slope: float = SLOPE) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = BatchNorm2d(outputs, affine=True) if norm else None
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs] -> [N, outputs]."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x[:, :, None, None]).flatten(1)
        return F.leaky_relu(x, self.slope)


def begin(network: nn.Module) -> None:
    """Draw initial weights as DCGAN does: convolutions from N(0, 0.02), norms' scales from N(1, 0.02), both with biases
    0; linear layers uniformly within 1 / sqrt(inputs), biases too, which is Torch's own draw."""
    initialize(network, "normal")
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
