"""Convolutions that are quicker in training on a CPU than PyTorch's, which they are but for the order of sums.

- **Many weights, few pixels** (a U-Net's inner layers, pix2pixHD's residual blocks): PyTorch reorders all weights in
  the forward pass and twice in the backward one, which takes several times as long as multiplying by them. Here a
  convolution is a matrix product of the patches by the weights in the order in which they lie in memory, channels last,
  and so are both of its gradients. A transposed convolution is the same three products with other names.
- **Many channels, many pixels**, 3x3 or 4x4, in fp32: Winograd's algorithm (`pinxit.nn.winograd`), F(4x4, 3x3) and
  F(3x3, 4x4), which have 36 products in place of 144. With a patch d, a kernel g and a gradient y of what comes out,

      out = A^T [ (G g G^T) * (B^T d B) ] A       its transposes:
      of d = B [ (G g G^T) * (A y A^T) ] B^T      of g = G^T [ sum over the patches of (B^T d B) * (A y A^T) ] G

  where * multiplies channel by channel, and is a matrix product over all patches. These are taken some at a time, so
  that what is between stays in cache.

In bf16 F(4x4) would round too coarsely; there only the first way is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.winograd import POINTS, transforms

LEAST_WEIGHTS, A_PIXEL = 1 << 19, 1 << 14
"""Weights from which on matrix products pay, in all and for each pixel on the smaller side (of all pictures)."""
LEAST_CHANNELS, LEAST_PIXELS, MOST_TAP = 128, 900, 1 << 18
"""Of Winograd's algorithm: channels and pixels (all pictures) from which on, weights of a tap up to which it pays."""
PATCHES = 128
"""Taken at a time."""


class QuickConv2d(nn.Conv2d):
    """A convolution; where it pays, quicker in training on a CPU. In eval mode it is PyTorch's."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, O, h, w]."""
        k, s, p = self.kernel_size[0], self.stride[0], self.padding
        square = self.kernel_size == (k, k) and self.stride == (s, s) and p == (p[0], p[0]) and self.dilation == (1, 1)
        if not (square and self.groups == 1 and self.padding_mode == "zeros" and learning(self, input)):
            return super().forward(input)
        height, width = ((side + 2 * int(p[0]) - k) // s + 1 for side in input.shape[2:])
        pixels = len(input) * height * width
        if self.weight.numel() >= max(LEAST_WEIGHTS, pixels * A_PIXEL):
            return _Product.apply(*as_autocast(input, self.weight, self.bias), s, p[0], None)
        fits = s == 1 and k in (3, 4) and self.in_channels * self.out_channels <= MOST_TAP
        many = min(self.in_channels, self.out_channels) >= LEAST_CHANNELS and pixels >= LEAST_PIXELS
        exact = input.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
        if fits and many and exact:
            return _Winograd.apply(input, self.weight, self.bias, p[0])
        return super().forward(input)


class QuickConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution; where it pays, quicker in training on a CPU. In eval mode it is PyTorch's."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[N, C, H, W] -> [N, O, h, w]."""
        k, s, p, more = self.kernel_size[0], self.stride[0], self.padding, self.output_padding
        square = self.kernel_size == (k, k) and self.stride == (s, s) and p == (p[0], p[0]) and more == (more[0],) * 2
        few = self.weight.numel() >= max(LEAST_WEIGHTS, input.numel() // input.shape[1] * A_PIXEL)
        plain = self.groups == 1 and self.dilation == (1, 1) and output_size is None
        if not (square and few and plain and learning(self, input)):
            return super().forward(input, output_size)
        return _Product.apply(*as_autocast(input, self.weight, self.bias), s, p[0], more[0])


def learning(layer: nn.Module, x: Tensor) -> bool:
    return layer.training and torch.is_grad_enabled() and x.device.type == "cpu" and not torch.compiler.is_compiling()


def as_autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """In the precision in which PyTorch's own convolution would be computed."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = torch.get_autocast_dtype("cpu")
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _Product(torch.autograd.Function):
    """x [N, C, H, W], weight, bias [O], stride, padding, and of a transposed convolution the output's padding, else
    None -> [N, O, h, w]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, more: int | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.more = stride, padding, more
        k, matrix = weight.shape[2], rows_of(weight)
        height, width = x.shape[2:]
        if more is None:
            height, width = ((side + 2 * padding - k) // stride + 1 for side in (height, width))
            out = picture_of(patches(x, k, stride, padding, height, width) @ matrix.t(), len(x), height, width)
        else:
            size = [(side - 1) * stride - 2 * padding + k + more for side in (height, width)]
            out = spread(pixels_of(x) @ matrix, len(x), height, width, k, stride, padding, size)
        return out if bias is None else out.add_(bias.view(-1, 1, 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, transposed = ctx.stride, ctx.padding, ctx.more is not None
        if torch.is_grad_enabled():
            return *of_pytorch(ctx, grads[0], x, weight, stride, padding, ctx.more), None, None, None
        (grad,), of_x, of_weight, of_bias = grads, None, None, None
        k = weight.shape[2]
        # The smaller side's pixels, and the patches that they go with on the larger one.
        small, large = (x, grad) if transposed else (grad, x)
        n, _, height, width = small.shape
        seen = None
        if transposed or ctx.needs_input_grad[1]:
            seen = patches(large, k, stride, padding, height, width)
        if ctx.needs_input_grad[0]:
            if transposed:
                assert seen is not None
                of_x = picture_of(seen @ rows_of(weight).t(), n, height, width)
            else:
                given = pixels_of(grad) @ rows_of(weight)
                of_x = spread(given, n, height, width, k, stride, padding, list(x.shape[2:]))
        if ctx.needs_input_grad[1]:
            assert seen is not None
            of_weight = (pixels_of(small).t() @ seen).view(len(weight), k, k, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None, None


def of_pytorch(
    ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, more: int | None
) -> tuple[Tensor | None, ...]:
    """PyTorch's own gradients by input, weight and bias, which can be differentiated once more."""
    wanted = list(ctx.needs_input_grad[:3])
    bias = [weight.shape[0 if more is None else 1]] if wanted[2] else None
    strides, paddings, transposed = [stride, stride], [padding, padding], more is not None
    return torch.ops.aten.convolution_backward(
        grad, x, weight, bias, strides, paddings, [1, 1], transposed, [more or 0] * 2, 1, wanted
    )


def rows_of(weight: Tensor) -> Tensor:
    """[O, C, k, k] -> [O, k * k * C], as it lies in memory, where channels are last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def pixels_of(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N * H * W, C]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def picture_of(pixels: Tensor, n: int, height: int, width: int) -> Tensor:
    """[N * H * W, C] -> [N, C, H, W], channels last."""
    return pixels.view(n, height, width, -1).permute(0, 3, 1, 2)


def patches(x: Tensor, k: int, stride: int, padding: int, height: int, width: int) -> Tensor:
    """[N, C, H, W] -> what a convolution sees for each of height x width pixels [N * height * width, k * k * C]."""
    x = padded(x, *(padding,) * 4)
    picture, channel, line, pixel = x.stride()
    seen = x.as_strided(
        (len(x), height, width, k, k, x.shape[1]), (picture, stride * line, stride * pixel, line, pixel, channel)
    )
    return seen.reshape(len(x) * height * width, -1)


def spread(
    given: Tensor, n: int, height: int, width: int, k: int, stride: int, padding: int, size: list[int]
) -> Tensor:
    """The transpose of `patches`: [N * height * width, k * k * C] -> [N, C, *size], channels last."""
    given = given.view(n, height, width, k, k, -1)
    high, wide = (
        max(side + 2 * padding, (count - 1) * stride + k) for side, count in zip(size, (height, width), strict=True)
    )
    # In fp32 at least, as there are many sums.
    out = given.new_zeros(n, high, wide, given.shape[5], dtype=torch.promote_types(given.dtype, torch.float32))
    for i in range(k):
        for j in range(k):
            out[:, i : i + stride * height : stride, j : j + stride * width : stride] += given[:, :, :, i, j]
    whole = out[:, padding : padding + size[0], padding : padding + size[1]].to(given.dtype)
    return whole.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


class _Winograd(torch.autograd.Function):
    """x [N, C, H, W], weight [O, C, k, k], bias [O], padding -> [N, O, h, w]; k is 3 or 4, the stride 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        # Of the input itself, not its patches, so that what is kept for the backward pass is what a convolution keeps.
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        k, (_, _, height, width) = weight.shape[2], x.shape
        height, width = height + 2 * padding + 1 - k, width + 2 * padding + 1 - k
        A, _, B = matrices(k, x.dtype)
        m, side, kernels = 7 - k, 6, transformed(weight).transpose(1, 2)
        x = whole_tiles(x, padding, height, width, k)
        seen = overlapping(x, k)
        rows, columns = seen.shape[3:5]
        out = x.new_empty(len(x), rows, m, columns, m, len(weight))
        for some in parts(*seen.shape[2:5]):
            here = seen[:, :, *some]
            turned = (B @ here.reshape(side * side, -1)).view(side * side, -1, x.shape[1])
            products = torch.bmm(turned, kernels)
            tiles = (A @ products.view(side * side, -1)).view(m, m, *here.shape[2:5], len(weight))
            out[some].copy_(tiles.permute(2, 3, 0, 4, 1, 5))
        out = out.view(len(x), rows * m, columns * m, -1)[:, :height, :width].permute(0, 3, 1, 2)
        out = out.contiguous(memory_format=torch.channels_last)
        return out if bias is None else out.add_(bias.view(-1, 1, 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *of_pytorch(ctx, grads[0], x, weight, 1, ctx.padding, None), None
        grad, k, p = grads[0], weight.shape[2], ctx.padding
        m, side, (n, outputs, height, width) = 7 - k, 6, grad.shape
        A, G, B = (matrix.t().contiguous() for matrix in matrices(k, x.dtype))
        of_x = of_weight = of_bias = by_x = turned_kernels = sums = None
        x_around = whole_tiles(x, p, height, width, k)
        seen = overlapping(x_around, k)
        rows, columns = seen.shape[3:5]
        g = padded(grad, 0, columns * m - width, 0, rows * m - height)
        g = g.permute(0, 2, 3, 1).view(n, rows, m, columns, m, outputs).permute(2, 4, 0, 1, 3, 5)
        if ctx.needs_input_grad[0]:
            of_x = torch.zeros_like(x_around)
            by_x, turned_kernels = overlapping(of_x, k), transformed(weight)
        for some in parts(n, rows, columns):
            turned = (A @ g[:, :, *some].reshape(m * m, -1)).view(side * side, -1, outputs)
            if ctx.needs_input_grad[1]:
                here = (B.t() @ seen[:, :, *some].reshape(side * side, -1)).view(side * side, -1, x.shape[1])
                both = turned.transpose(1, 2), here
                sums = torch.bmm(*both) if sums is None else sums.baddbmm_(*both)
            if by_x is not None and turned_kernels is not None:
                into = by_x[:, :, *some]
                given = (B @ torch.bmm(turned, turned_kernels).view(side * side, -1)).view(into.shape)
                # In four parts, within which no two patches overlap.
                for i in (slice(0, m), slice(m, side)):
                    for j in (slice(0, m), slice(m, side)):
                        into[i, j] += given[i, j]
        if of_x is not None:
            of_x = of_x[:, :, p : p + x.shape[2], p : p + x.shape[3]]
        if sums is not None:
            of_weight = (G @ sums.view(side * side, -1)).view(k, k, outputs, -1).permute(2, 3, 0, 1)
            of_weight = of_weight.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


@functools.cache
def matrices(k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A^T, G and B^T for rows and columns at once."""
    with torch.inference_mode(False), torch.no_grad():
        A, G, B = (torch.kron(matrix, matrix).to(dtype) for matrix in transforms(POINTS[4], k))
    return A, G, B


def transformed(weight: Tensor) -> Tensor:
    """[O, C, k, k] -> [36, O, C]."""
    outputs, inputs, k, _ = weight.shape
    _, G, _ = matrices(k, weight.dtype)
    return (G @ weight.permute(2, 3, 0, 1).reshape(k * k, -1)).view(-1, outputs, inputs)


def whole_tiles(x: Tensor, padding: int, height: int, width: int, k: int) -> Tensor:
    """x with zeros around it, and so many more below and to the right that tiles cover height x width pixels."""
    down, right = (-side % (7 - k) for side in (height, width))
    return padded(x, padding, padding + right, padding, padding + down)


def padded(x: Tensor, left: int, right: int, above: int, below: int) -> Tensor:
    """x with so many zeros around it, channels last; x itself where there are none, of which `pad` makes a copy."""
    x = F.pad(x, (left, right, above, below)) if left or right or above or below else x
    return x.contiguous(memory_format=torch.channels_last)


def overlapping(x: Tensor, k: int) -> Tensor:
    """A view of x's patches [6, 6, N, rows, columns, C], each so many pixels after the last as a tile has."""
    m, (picture, channel, line, pixel) = 7 - k, x.stride()
    rows, columns = ((side + 1 - k) // m for side in x.shape[2:])
    return x.as_strided((6, 6, len(x), rows, columns, x.shape[1]), (line, pixel, picture, m * line, m * pixel, channel))


def parts(n: int, rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Of so many patches some at a time: rows of one picture, or whole pictures."""
    some = max(1, PATCHES // columns)
    if some >= rows:
        for first in range(0, n, some // rows):
            yield slice(first, first + some // rows), slice(0, rows)
        return
    for picture in range(n):
        for row in range(0, rows, some):
            yield slice(picture, picture + 1), slice(row, row + some)
