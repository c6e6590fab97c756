"""Generator and discriminator of StyleGAN2 (Karras et al. 2020). Names of weights are the widely used PyTorch form's.

Learning rates are equalised: weights are drawn with variance 1 and scaled where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.stylegan2.config import Network
from pinxit.nn.modulation import EPSILON, demodulation, modulated_conv
from pinxit.nn.upfirdn import kernel_of, upfirdn

ROOT = math.sqrt(2)
"""What activations are multiplied with, so that the leaky ReLU keeps variance. Folded into what comes before: the
function is the same for weights and bias that are larger by it."""
SLOPE = 0.2
COLORS = 3
GROUP = 4
"""Pictures whose spread the discriminator is told."""


def float32(x: Tensor) -> AbstractContextManager[object]:
    """Within the block nothing is computed in less, as autocast would on the device of `x`."""
    # Of the device on which operations are but counted, autocast knows nothing.
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


class PixelNorm(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + EPSILON)


class Linear(nn.Module):
    """A layer whose weights are scaled by `rate` and one over the root of what goes in."""

    def __init__(self, into: int, out: int, *, bias: float = 0.0, rate: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / rate)
        self.bias = nn.Parameter(torch.full((out,), bias))
        self.rate, self.activate = rate, activate

    def forward(self, x: Tensor) -> Tensor:
        gain = self.rate * (ROOT if self.activate else 1.0)
        x = F.linear(x, self.weight * (gain / math.sqrt(self.weight.shape[1])), self.bias * gain)
        return F.leaky_relu(x, SLOPE) if self.activate else x


class Resample(nn.Module):
    """A fixed filter; its kernel is a buffer, as in official checkpoints."""

    def __init__(self, taps: Sequence[int], pad: tuple[int, int], *, up: int = 1, down: int = 1, gain: int = 1) -> None:
        super().__init__()
        self.kernel: Tensor
        self.register_buffer("kernel", kernel_of(taps, gain))
        self.pad, self.up, self.down = pad, up, down

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn(x, self.kernel, up=self.up, down=self.down, pad=self.pad)


class ModulatedConv(nn.Module):
    """Sec. 2.2; `modulation` makes a style of w."""

    def __init__(self, into: int, out: int, size: int, options: Network, *, up: bool = False, rgb: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, size, size))
        if up:
            self.blur = Resample(options.blur, (1, 1), gain=4)
        self.modulation = Linear(options.style_dim, into, bias=1.0)
        self.up, self.rgb = up, rgb

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, I, H, W], w [N, style_dim] -> [N, O, …]: of demodulated layers times `ROOT`, colours in float32."""
        with float32(x):
            style = self.modulation(w.float()) / math.sqrt(self.weight[0].numel())
            # In float32, as the square of a bfloat16 has few digits left.
            gain = None if self.rgb else ROOT * demodulation(self.weight, style)
        if gain is None:
            # One by one pixel: a product of matrices, which need not scale all the activations first.
            y = (self.weight[:, :, 0, 0] * style[:, None, :]) @ x.flatten(2)
            return y.float().view(*y.shape[:2], *x.shape[2:])
        y = modulated_conv(x, self.weight, style, up=self.up)
        y = self.blur(y) if self.up else y
        return y * gain.to(y.dtype)[:, :, None, None]


class Noise(nn.Module):
    """The strength of one layer's noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Bias(nn.Module):
    """A channel's bias ahead of the leaky ReLU; whoever holds it applies both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU."""

    def __init__(self, into: int, out: int, options: Network, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(into, out, 3, options, up=up)
        self.noise = Noise()
        self.activate = Bias(out)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """`noise`: [N or 1, 1, H, W] of the output's size."""
        x = self.conv(x, w)
        x = x + ((self.noise.weight * ROOT) * noise).to(x.dtype)
        return F.leaky_relu(x + (self.activate.bias * ROOT).to(x.dtype)[:, None, None], SLOPE)


class ToRGB(nn.Module):
    """What a resolution adds to the picture (fig. 7 b: skip connections). Always in float32, as it adds up."""

    def __init__(self, into: int, options: Network, *, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, COLORS, 1, 1))
        if up:
            self.upsample = Resample(options.blur, (2, 1), up=2, gain=4)
        self.conv = ModulatedConv(into, COLORS, 1, options, rgb=True)

    def forward(self, x: Tensor, w: Tensor, picture: Tensor | None = None) -> Tensor:
        y = self.conv(x, w) + self.bias
        if picture is None:
            return y
        with float32(x):
            return y + self.upsample(picture)


class Constant(nn.Module):
    """What the generator begins with, 4 by 4 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """w to pictures; `mapping` makes w of z.

    Of the latents [N, L, style_dim] of a w+, layer by layer: 0 goes to `conv1`, 1 to `to_rgb1` and `convs.0`, 2 to
    `convs.1`, 3 to `to_rgbs.0` and `convs.2`, and so on.
    """

    def __init__(self, options: Network) -> None:
        super().__init__()
        self.options = options
        widths, dim = options.widths, options.style_dim
        rate = options.mapping_rate
        self.style = nn.Sequential(
            PixelNorm(), *(Linear(dim, dim, rate=rate, activate=True) for _ in range(options.mapping_layers))
        )
        self.input = Constant(widths[0])
        self.conv1 = StyledConv(widths[0], widths[0], options)
        self.to_rgb1 = ToRGB(widths[0], options, up=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for into, out in pairwise(widths):
            self.convs.append(StyledConv(into, out, options, up=True))
            self.convs.append(StyledConv(out, out, options))
            self.to_rgbs.append(ToRGB(out, options))
        for i, shape in enumerate(self.noise_shapes()):
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, *shape))

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """Of each layer's noise, without the batch."""
        sides = [1 << ((i + 5) // 2) for i in range(self.options.latents - 1)]
        return [(1, side, side) for side in sides]

    def fixed_noise(self) -> list[Tensor]:
        """The noise that belongs to the model: each [1, 1, H, W]."""
        return [self.noises.get_buffer(f"noise_{i}") for i in range(self.options.latents - 1)]

    def mapping(self, z: Tensor) -> Tensor:
        """z [N, style_dim], standard normal -> w of the same shape."""
        with float32(z):
            return self.style(z.float())

    def forward(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w [N, style_dim], or w+ [N, latents, style_dim] -> pictures [N, 3, size, size], about -1 to 1.

        `noise`: one for each layer, [N or 1, 1, H, W]; by default what belongs to the model.
        """
        latents = w if w.ndim == 3 else w[:, None].expand(-1, self.options.latents, -1)
        noise = self.fixed_noise() if noise is None else noise
        x = self.conv1(self.input.input.expand(len(latents), -1, -1, -1), latents[:, 0], noise[0])
        picture = self.to_rgb1(x, latents[:, 1])
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, latents[:, 2 * i + 1], noise[2 * i + 1])
            x = self.convs[2 * i + 1](x, latents[:, 2 * i + 2], noise[2 * i + 2])
            picture = to_rgb(x, latents[:, 2 * i + 3], picture)
        return picture


def mixed(coarse: Tensor, fine: Tensor, at: int, latents: int) -> Tensor:
    """Style mixing: two w [N, style_dim] -> a w+ whose first `at` of `latents` layers have the one."""
    return torch.cat([coarse[:, None].expand(-1, at, -1), fine[:, None].expand(-1, latents - at, -1)], dim=1)


def truncated(w: Tensor, mean: Tensor, truncation: float) -> Tensor:
    """w or w+ drawn towards the mean [style_dim] (Karras et al. 2019, appendix B): 1 leaves it, 0 is the mean."""
    return w if truncation == 1 else mean + truncation * (w - mean)


class Weight(nn.Module):
    """The weight of a convolution; whoever holds it convolves."""

    def __init__(self, into: int, out: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, size, size))
        self.scale = 1 / math.sqrt(into * size * size)


class Conv(nn.Sequential):
    """Convolution, bias, leaky ReLU; with `down` the picture is filtered first and then halved."""

    def __init__(self, into: int, out: int, size: int, taps: Sequence[int] = (), *, down: bool = False) -> None:
        before = [Resample(taps, (2, 2))] if down else []
        super().__init__(*before, Weight(into, out, size), Bias(out))
        self.down, self.padding = down, 0 if down else size // 2

    def forward(self, input: Tensor) -> Tensor:
        conv, act = cast(Weight, self[-2]), cast(Bias, self[-1])
        x = self[0](input) if self.down else input
        weight, bias = conv.weight * (conv.scale * ROOT), act.bias * ROOT
        return F.leaky_relu(F.conv2d(x, weight, bias, 2 if self.down else 1, self.padding), SLOPE)


class Skip(nn.Sequential):
    """The short way round a block. Filtered where a pixel stays, not where it is dropped: the result is the same."""

    def __init__(self, into: int, out: int, taps: Sequence[int]) -> None:
        super().__init__(Resample(taps, (1, 1), down=2), Weight(into, out, 1))

    def forward(self, input: Tensor) -> Tensor:
        conv = cast(Weight, self[1])
        return F.conv2d(self[0](input), conv.weight * (conv.scale / ROOT))


class Block(nn.Module):
    """A residual block that halves the picture; the sum is brought back to the variance of one way."""

    def __init__(self, into: int, out: int, taps: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = Conv(into, into, 3)
        self.conv2 = Conv(into, out, 3, taps, down=True)
        self.skip = Skip(into, out, taps)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)) * (1 / ROOT) + self.skip(x)


class Discriminator(nn.Module):
    """Pictures to logits (fig. 7 c: residual). Within a batch, pictures are told how much those of their group differ.

    A group are the pictures i, i + N / group, i + 2 N / group …, of N.
    """

    def __init__(self, options: Network) -> None:
        super().__init__()
        widths = options.widths[::-1]
        blocks = [Block(into, out, options.blur) for into, out in pairwise(widths)]
        self.convs = nn.Sequential(Conv(COLORS, widths[0], 1), *blocks)
        last = options.widths[0]
        self.final_conv = Conv(last + 1, last, 3)
        self.final_linear = nn.Sequential(Linear(16 * last, last, activate=True), Linear(last, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """[N, 3, size, size] -> logits [N, 1] in float32; N a multiple of 4, or less than that."""
        x = self.convs(pictures)
        with float32(x):
            x = x.float()
            x = torch.cat([x, spread(x)], dim=1)
            return self.final_linear(self.final_conv(x).flatten(1))


def spread(x: Tensor) -> Tensor:
    """The standard deviation within each group, averaged over channels and pixels (Karras et al. 2018, sec. 3).

    x [N, C, H, W] -> [N, 1, H, W].
    """
    n, _, height, width = x.shape
    group = min(n, GROUP)
    deviation = torch.sqrt(x.reshape(group, n // group, -1).var(dim=0, correction=0) + EPSILON).mean(dim=1)
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
