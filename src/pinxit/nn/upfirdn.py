"""Upsample, filter, downsample: the resampling of StyleGAN2, which can be differentiated again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def kernel_of(taps: Sequence[float], gain: float = 1.0) -> Tensor:
    """The taps of a separable filter as a kernel [K, K] whose sum is `gain`."""
    line = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(line, line)
    return kernel * (gain / kernel.sum())


def upfirdn(x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Put `up` - 1 zeros behind every pixel, pad with zeros, filter, and keep every `down`-th pixel (Karras et al.
    2020, appendix B); of both axes alike.

    x [N, C, H, W], kernel [K, K] -> [N, C, (H up + sum(pad) - K) // down + 1, …]. `pad`: rows before and behind;
    negative ones are cut off. It is a convolution in the strict sense: the kernel is turned. The kernel gets no
    gradient.
    """
    return _UpFirDn.apply(x, kernel, up, down, *pad)


class _UpFirDn(torch.autograd.Function):
    """The backward pass is the same operation, with up and down exchanged and the kernel turned.

    So every pass, however often it is differentiated, is a depthwise convolution in channels-last layout, and never one
    of PyTorch's backward passes of it: on a CPU those of a strided one take up to 20 times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, up: int, down: int, first: int, last: int) -> Tensor:
        ctx.save_for_backward(kernel)
        y = _filtered(x, kernel, up, down, first, last)
        size, sides = kernel.shape[0], zip(x.shape[2:], y.shape[2:], strict=True)
        behind = [into * up - out * down + first - up + 1 for into, out in sides]
        ctx.adjoint = (down, up, size - first - 1, *behind)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (kernel,) = ctx.saved_tensors
        up, down, first, last, last_of_columns = ctx.adjoint
        # Of oblong pictures the two axes can want one row more or less; those are zeros, and put on by themselves.
        grad = _UpFirDn.apply(grads[0], kernel.flip(0, 1), up, down, first, max(last, last_of_columns))
        if last != last_of_columns:
            grad = _cut(grad, last - max(last, last_of_columns), last_of_columns - max(last, last_of_columns), down)
        return grad, None, None, None, None, None


def _cut(x: Tensor, rows: int, columns: int, down: int) -> Tensor:
    """Without what so many rows and columns less of padding would not have given."""
    return x[:, :, : x.shape[2] + -(-rows // down), : x.shape[3] + -(-columns // down)]


def _filtered(x: Tensor, kernel: Tensor, up: int, down: int, first: int, last: int) -> Tensor:
    n, channels, height, width = x.shape
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
    x = x.contiguous(memory_format=torch.channels_last)
    if up == 1 and first == last >= 0:
        return F.conv2d(x, weight, stride=down, padding=first, groups=channels)
    # Zeros between and around at once: of negative padding all that there is, to be cut off after.
    before, behind = max(first, 0), max(last, 0)
    size = n, channels, height * up + before + behind, width * up + before + behind
    spread = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last).zero_()
    spread[:, :, before : before + height * up : up, before : before + width * up : up] = x
    top, end = before - first, behind - last
    spread = spread[:, :, top : size[2] - end, top : size[3] - end]
    return F.conv2d(spread, weight, stride=down, groups=channels)
