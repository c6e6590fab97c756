"""3x3 convolution with 2.25 or 4 times fewer multiplications (Lavin & Gray 2016, arXiv 1509.09308: F(2x2, 3x3) and
F(4x4, 3x3)).

Each patch d of the input (they overlap by two) and the kernel g are transformed, multiplied channel by channel, and
give 2x2 or 4x4 pixels of the output: A^T [ (G g G^T) * (B^T d B) ] A. The products are 16 or 36 matrix products over
all patches. The transforms of F(2x2) are sums and differences where the picture is small; else, and for F(4x4), they
are matrix products too: rows and columns at once, by the Kronecker product of the matrix with itself, which is more
arithmetic than need be, and fewer passes over memory. There, patches are taken some at a time, so that what is between
stays in cache.

F(2x2) rounds about as a usual convolution does. F(4x4) rounds about five times as much in fp32 (9e-7 of the output's
deviation against 2e-7, with the points below; twice that with the usual 1 and 2), and in bf16 too much.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_PIXELS = 64 * 64
"""Of the output, up to which tiles of 2 are transformed by sums and differences."""

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2), -math.sqrt(2))}
"""Where the polynomials are evaluated, beside infinity, for tiles of the output of 2 and 4 pixels a side."""

COLUMNS, LEAST_PATCHES = 1 << 13, {2: 256, 4: 64}
"""Patches times channels that are transformed at a time, and patches at least, of each tile."""

INPUTS = 8
"""Input channels whose kernels are transformed at a time."""


class Winograd(nn.Module):
    """A 3x3 convolution of stride 1 with the weights of another, for use without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None, tile: int = 2) -> None:
        """weight [O, C, 3, 3], bias [O]; `tile`: 2 or 4."""
        super().__init__()
        self.tile = tile
        A, G, B = transforms(POINTS[tile])
        side, (outputs, inputs) = len(G), weight.shape[:2]
        product = weight.new_empty(side * side, inputs, outputs)
        GG = torch.kron(G, G)
        # In double, as rounding once more would be all that is lost here; some at a time, so that they stay in cache.
        for some in range(0, inputs, INPUTS):
            kernels = weight.detach()[:, some : some + INPUTS].double().cpu().permute(2, 3, 1, 0).reshape(9, -1)
            product[:, some : some + INPUTS] = (GG @ kernels).view(side * side, -1, outputs)
        self.product: Tensor
        self.bias: Tensor | None
        self.before: Tensor
        self.after: Tensor
        self.register_buffer("product", product)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.register_buffer("before", torch.kron(B, B).to(weight))
        self.register_buffer("after", torch.kron(A, A).to(weight))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W], with zeros around it -> [N, O, H, W], channels last."""
        return self.valid(F.pad(x, (1, 1, 1, 1)))

    def valid(self, x: Tensor) -> Tensor:
        """[N, C, H + 2, W + 2], without padding -> [N, O, H, W], channels last."""
        m, height, width = self.tile, x.shape[2] - 2, x.shape[3] - 2
        rows, columns = -(-height // m), -(-width // m)
        if columns * m > width or rows * m > height:  # `pad` would copy it in any case
            x = F.pad(x, (0, columns * m - width, 0, rows * m - height))
        x = x.contiguous(memory_format=torch.channels_last)
        out = x.new_empty(len(x), rows, m, columns, m, self.product.shape[2])
        small = m == 2 and height * width <= MOST_PIXELS
        (self._by_sums if small else self._by_products)(x.permute(0, 2, 3, 1), out)
        whole = out.view(len(x), rows * m, columns * m, -1)
        return whole[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def _by_sums(self, x: Tensor, out: Tensor) -> None:
        """Tiles of 2, all at once, by sums and differences: x [N, H + 2, W + 2, C] -> out [N, H/2, 2, W/2, 2, O]."""
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

        m = torch.bmm(patches.view(16, -1, channels), self.product).view(4, 4, n, rows, columns, -1)

        # A^T m A.
        for i, t in enumerate((m[0] + m[1] + m[2], m[1] - m[2] - m[3])):
            left, right = out[:, :, i, :, 0], out[:, :, i, :, 1]
            torch.add(t[0], t[1], out=left).add_(t[2])
            torch.sub(t[1], t[2], out=right).sub_(t[3])
            if self.bias is not None:
                left.add_(self.bias)
                right.add_(self.bias)

    def _by_products(self, x: Tensor, out: Tensor) -> None:
        """Tiles of any size m, by matrix products: x [N, H + 2, W + 2, C] -> out [N, H/m, m, W/m, m, O]."""
        n, rows, m, columns, _, outputs = out.shape
        channels, side = x.shape[3], m + 2
        per_picture, line, pixel, _ = x.stride()
        step = max(1, max(LEAST_PATCHES[m], COLUMNS // channels) // columns)  # rows of patches at a time
        for picture in range(n):
            for row in range(0, rows, step):
                here = min(step, rows - row)
                patches = x.as_strided(
                    (side, side, here, columns, channels),
                    (line, pixel, m * line, m * pixel, 1),
                    x.storage_offset() + picture * per_picture + row * m * line,
                )
                turned = self.before @ patches.reshape(side * side, -1)
                products = torch.bmm(turned.view(side * side, -1, channels), self.product)
                tiles = (self.after @ products.view(side * side, -1)).view(m, m, here, columns, outputs)
                target, tiles = out[picture, row : row + here], tiles.permute(2, 0, 3, 1, 4)
                if self.bias is None:
                    target.copy_(tiles)
                else:
                    torch.add(tiles, self.bias, out=target)


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
