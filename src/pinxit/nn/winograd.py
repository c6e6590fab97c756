"""Convolutions of 3x3 and 4x4 with 2 to 4 times fewer multiplications (Lavin & Gray 2016, arXiv 1509.09308).

Each patch d of the input (they overlap) and the kernel g are transformed, multiplied channel by channel, and give a
tile of the output, 2x2, 3x3 or 4x4 pixels: A^T [ (G g G^T) * (B^T d B) ] A. The products are 16 or 36 matrix products
over all patches.

- F(2x2, 3x3) is for many weights: its transforms are sums and differences, of all patches at once.
- F(4x4, 3x3) and F(3x3, 4x4) are for many pixels: rows and columns are transformed at once, by the Kronecker product of
  the matrix with itself, which is more arithmetic than need be, and fewer passes over memory. All that belongs to one
  patch lies together, and patches are taken some at a time, so that what is between stays in cache.

F(2x2) rounds about as a usual convolution does. F(4x4) rounds about five times as much in fp32 (9e-7 of the output's
deviation against 2e-7, with the points below; twice that with the usual 1 and 2), and in bf16 too much.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.nn.products import Products

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2), -math.sqrt(2))}
"""Where the polynomials are evaluated, beside infinity, by the sides of tile and kernel together, less 3."""

MOST_PIXELS = 64 * 64
"""Of the output, that tiles of 2 are computed for at a time."""

NUMBERS, PATCHES = 1 << 14, 128
"""Of larger tiles, patches times channels that are taken at a time; and patches at least, by matrices not in order."""

OUTPUTS = 16
"""Output channels whose kernels are transformed at a time."""


class Winograd:
    """A 3x3 convolution of stride 1 without padding with the weights of another, for use without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None, tile: int = 2) -> None:
        """weight [O, C, 3, 3], bias [O]; `tile`: 2 or 4."""
        self.tile, self.bias = tile, None if bias is None else bias.detach()
        outputs, inputs, taps = weight.shape[:3]
        _, G, _ = matrices(tile, taps, torch.float64)
        # [side^2, O, C]. It matters how they lie: few patches by many channels are multiplied quickest by rows of
        # inputs, many patches by rows of outputs.
        if tile == 2:
            kernels = weight.new_empty(len(G), outputs, inputs)
        else:
            kernels = weight.new_empty(len(G), inputs, outputs).mT
        # In double, as rounding once more would be all that is lost here; some at a time, so that they stay in cache,
        # and by outputs, as the weights lie in memory where channels are last.
        for some in range(0, outputs, OUTPUTS):
            part = weight.detach()[some : some + OUTPUTS].permute(0, 2, 3, 1).flatten(1, 2).double()
            kernels[:, some : some + OUTPUTS] = by_patch(G, part).transpose(0, 1)
        self.products = Products(kernels) if tile == 4 else kernels.mT

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H + 2, W + 2] -> [N, O, H, W], channels last."""
        if isinstance(self.products, Products):
            return convolved(x, self.products, self.bias, self.tile, 3)
        return by_sums(x, self.products, self.bias)


def by_sums(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """F(2x2, 3x3): x [N, C, H + 2, W + 2], kernels [16, C, O], bias [O] -> [N, O, H, W], channels last."""
    height, width = x.shape[2] - 2, x.shape[3] - 2
    rows, columns = -(-height // 2), -(-width // 2)
    if columns * 2 > width or rows * 2 > height:  # `pad` would copy it in any case
        x = F.pad(x, (0, columns * 2 - width, 0, rows * 2 - height))
    x = x.permute(0, 2, 3, 1).contiguous()
    out = x.new_empty(len(x), rows, 2, columns, 2, kernels.shape[2])
    step = max(1, MOST_PIXELS // (4 * columns * len(x)))
    for row in range(0, rows, step):
        _by_sums(x[:, 2 * row : 2 * (row + step) + 2], kernels, bias, out[:, row : row + step])
    whole = out.view(len(x), rows * 2, columns * 2, -1)
    return whole[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _by_sums(x: Tensor, kernels: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """x [N, H + 2, W + 2, C] -> out [N, H/2, 2, W/2, 2, O]."""
    n, rows, _, columns, _, _ = out.shape
    height, width, channels = 2 * rows, 2 * columns, x.shape[3]

    # B^T d B: rows of patches first, then columns.
    d0, d1, d2, d3 = (x[:, i : i + height : 2] for i in range(4))
    patches = x.new_empty(16, n, rows, columns, channels)
    for i, line in enumerate((d0 - d2, d1 + d2, d2 - d1, d1 - d3)):
        e0, e1, e2, e3 = (line[:, :, j : j + width : 2] for j in range(4))
        torch.sub(e0, e2, out=patches[4 * i])
        torch.add(e1, e2, out=patches[4 * i + 1])
        torch.sub(e2, e1, out=patches[4 * i + 2])
        torch.sub(e1, e3, out=patches[4 * i + 3])

    m = torch.bmm(patches.view(16, -1, channels), kernels).view(4, 4, n, rows, columns, -1)

    # A^T m A.
    for i, t in enumerate((m[0] + m[1] + m[2], m[1] - m[2] - m[3])):
        left, right = out[:, :, i, :, 0], out[:, :, i, :, 1]
        torch.add(t[0], t[1], out=left).add_(t[2])
        torch.sub(t[1], t[2], out=right).sub_(t[3])
        if bias is not None:
            left.add_(bias)
            right.add_(bias)


def convolved(x: Tensor, products: Products, bias: Tensor | None, tile: int, taps: int) -> Tensor:
    """x [N, C, H, W], by kernels [taps, taps] that were transformed for such tiles, without padding -> [N, O, H + 1 -
    taps, W + 1 - taps], channels last."""
    A, _, B = matrices(tile, taps, x.dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    height, width = (side + 1 - taps for side in x.shape[2:])
    out, usual = x.new_empty(len(x), height, width, products.outputs), 0
    most = at_a_time(max(x.shape[1], products.outputs), products.orders)
    for pictures, lines, patches in patches_of(x, tile + taps - 1, tile, most):
        count, rows, columns = patches.shape[:3]
        seen = by_patch(B, patches.flatten(0, 2).flatten(1, 2))
        usual = usual or len(seen)
        tiles = by_patch(A, products(seen, usual))
        if bias is not None:
            tiles += bias
        tiles = tiles.view(count, rows, columns, tile, tile, -1).transpose(2, 3)
        target = out[pictures, lines]
        if columns * tile == width and rows * tile == target.shape[1]:
            target.unflatten(2, (columns, tile)).unflatten(1, (rows, tile)).copy_(tiles)
        else:
            target.copy_(tiles.reshape(count, rows * tile, columns * tile, -1)[:, : target.shape[1], :width])
    return out.permute(0, 3, 1, 2)


def by_patch(matrix: Tensor, patches: Tensor) -> Tensor:
    """[T, S] by each of [P, S, C] -> [P, T, C]."""
    return torch.bmm(matrix.expand(len(patches), *matrix.shape), patches)


def at_a_time(channels: int, in_order: bool) -> int:
    """Patches, of so many channels at most."""
    return NUMBERS // channels if in_order else max(NUMBERS // channels, PATCHES)


def patches_of(x: Tensor, side: int, step: int, most: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """x [N, C, H, W], channels last -> some at a time: pictures, lines of all that a convolution gives which begin at
    these patches, and about `most` patches [n, rows, columns, side, side, C], each `step` pixels after the last.

    What a patch has beyond x's edge is any of x's numbers, or 0: no pixel within depends on it.
    """
    count, channels, height, width = x.shape
    rows, columns = (-(-(length - side + step) // step) for length in (height, width))
    several = max(1, most // columns)
    pictures = max(1, several // rows)
    for first in range(0, count, pictures):
        some = slice(first, min(first + pictures, count))
        for row in range(0, rows, several):
            here = min(several, rows - row)
            lines = slice(row * step, min((row + here) * step, height - side + step))
            within = x[some, :, row * step :]
            if row + here == rows:  # beyond the last line there is nothing of x
                below, right = (
                    n * step - step + side - length for n, length in ((here, within.shape[2]), (columns, width))
                )
                if below or right:
                    within = F.pad(within, (0, right, 0, below)).contiguous(memory_format=torch.channels_last)
            picture, _, line, pixel = within.stride()
            yield (
                some,
                lines,
                within.as_strided(
                    (len(within), here, columns, side, side, channels),
                    (picture, step * line, step * pixel, line, pixel, 1),
                ),
            )


@functools.cache
def matrices(tile: int, taps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A^T, G and B^T for rows and columns at once."""
    with torch.inference_mode(False), torch.no_grad():
        A, G, B = (torch.kron(m, m).to(dtype) for m in transforms(POINTS[tile + taps - 3], taps))
    return A, G, B


def transforms(points: tuple[float, ...], taps: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """(A^T [m, side], G [side, taps], B^T [side, side]), side = m + taps - 1, float64, for kernels of so many taps a
    side, by Toom and Cook's construction: two polynomials are multiplied by their values at the points and at
    infinity."""
    side = len(points) + 1
    m = side + 1 - taps
    A, G, B = (torch.zeros(shape, dtype=torch.float64) for shape in ((m, side), (side, taps), (side, side)))
    for j, p in enumerate(points):
        others = [q for k, q in enumerate(points) if k != j]
        A[:, j] = torch.tensor([p**i for i in range(m)], dtype=torch.float64)
        G[j] = torch.tensor([p**i for i in range(taps)], dtype=torch.float64) / math.prod(p - q for q in others)
        B[j, : side - 1] = _polynomial(others)
    A[-1, -1] = G[-1, -1] = 1
    B[-1] = _polynomial(list(points))
    if G[0, 0] < 0:  # by custom: the sign is the kernel's or the patch's
        G[0], B[0] = -G[0], -B[0]
    return A, G, B


def _polynomial(roots: list[float]) -> Tensor:
    """Coefficients of (x - r) (x - s) ..., the lowest power first."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        longer = torch.zeros(len(coefficients) + 1, dtype=torch.float64)
        longer[1:] += coefficients
        longer[:-1] -= root * coefficients
        coefficients = longer
    return coefficients
