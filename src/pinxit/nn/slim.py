"""Convolutions to very few channels, which training on a CPU spends a surprising part of its time on.

A CPU's convolution works on 16 output channels at once, so one to 3 channels (a generator's last layer) or to 1 (a
discriminator's) throws most of its work away, in the forward pass and in the weights' gradient. Here the columns of the
kernel become channels: a convolution by a kernel one column wide gives each column's share as channels of its own, and
the picture is the sum of these, each moved by its column. 7x7 to 3 channels is 21 channels, two and a half times as
quick. The sum is the same but for its order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST, LEAST = 4, 1 << 17
"""Output channels up to which, and numbers of the input from which on it pays."""


class SlimConv2d(nn.Conv2d):
    """A convolution of stride 1; to few channels it is quicker in training on a CPU. In eval mode it is PyTorch's."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, O, h, w]."""
        quick = self.training and self.out_channels <= MOST and input.numel() >= LEAST and input.device.type == "cpu"
        if not quick or torch.compiler.is_compiling() or isinstance(self.padding, str):
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            input, weight, bias = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        return _Slim.apply(input, weight, bias, (self.padding[0], self.padding[1]))


class _Slim(torch.autograd.Function):
    """x [N, C, H, W], weight [O, C, k, l], bias [O], padding -> [N, O, h, w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        # The weight itself, not its columns, so that what is kept for the backward pass is what a convolution keeps.
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        width = weight.shape[3]
        if bias is not None:  # to the first column's share
            bias = torch.cat([bias, bias.new_zeros((width - 1) * len(bias))])
        x = x.contiguous(memory_format=torch.channels_last)
        return joined(F.conv2d(x, columns(weight), bias, padding=padding), width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad, of_x, of_weight, of_bias = grads[0], None, None, None
        if ctx.needs_input_grad[0]:
            of_x = gradients(grad, x, weight, ctx.padding, (True, False))[0]
        if ctx.needs_input_grad[1]:
            outputs, inputs, height, width = weight.shape
            of_columns = gradients(parted(grad, width), x, columns(weight), ctx.padding, (False, True))[1]
            of_weight = of_columns.reshape(width, outputs, inputs, height).permute(1, 2, 3, 0)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Those of a convolution by its input and its weight; they can be differentiated once more."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], list(padding), [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return of_x, of_weight


def columns(weight: Tensor) -> Tensor:
    """[O, C, k, l] -> the kernel's columns as output channels [l O, C, k, 1]."""
    parts = weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None]
    return parts.contiguous(memory_format=torch.channels_last)


def joined(parts: Tensor, width: int) -> Tensor:
    """[N, l O, h, w + l - 1], each column's share of the picture -> their sum, each moved by its place [N, O, h, w]."""
    n, channels, height, beyond = parts.shape
    outputs, across = channels // width, beyond - width + 1
    if parts.dtype != torch.bfloat16:
        total = parts[:, :outputs, :, :across].clone(memory_format=torch.channels_last)
        for i in range(1, width):
            total += parts[:, i * outputs : (i + 1) * outputs, :, i : i + across]
        return total
    # In one operation, which rounds once.
    s = parts.stride()
    moved = parts.as_strided((n, height, across, outputs, width), (s[0], s[2], s[3], s[1], outputs * s[1] + s[3]))
    return moved.sum(4).permute(0, 3, 1, 2)


def parted(grad: Tensor, width: int) -> Tensor:
    """The transpose of `joined`: [N, O, h, w] -> [N, l O, h, w + l - 1]."""
    n, outputs, height, across = grad.shape
    parts = grad.new_zeros(n, height, across + width - 1, width * outputs).permute(0, 3, 1, 2)
    for i in range(width):
        parts[:, i * outputs : (i + 1) * outputs, :, i : i + across] = grad
    return parts


class ReflectionPad2d(nn.ReflectionPad2d):
    """PyTorch's, which under autocast on a CPU goes by way of fp32, to the same values."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H + 2 p, W + 2 p]."""
        if input.dtype != torch.bfloat16 or input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input)
