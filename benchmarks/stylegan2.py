"""StyleGAN2's operations: ours against a straightforward reading of the paper in plain PyTorch, gradients included.

The reference resamples as the paper's figure does (zeros put in, padded, every picture's every channel filtered as a
picture of its own, every second pixel kept) and convolves with weights made for each sample, in groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import Pair, Row, Setting, Work, measured
from pinxit.data.squares import Squares
from pinxit.models.stylegan2 import network as ours
from pinxit.models.stylegan2.config import Network, Training
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe
from pinxit.nn.modulation import modulated_conv_by_weights
from pinxit.nn.upfirdn import kernel_of, upfirdn


def plain_upfirdn(x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    n, channels, height, width = x.shape
    first, last = pad
    y = x.reshape(n * channels, 1, height, 1, width, 1)
    y = F.pad(y, (0, up - 1, 0, 0, 0, up - 1)).reshape(n * channels, 1, height * up, width * up)
    y = F.pad(y, (first, last, first, last))
    y = F.conv2d(y, kernel.flip(0, 1)[None, None].to(y.dtype))[:, :, ::down, ::down]
    return y.reshape(n, channels, *y.shape[2:])


class PlainModulatedConv(nn.Module):
    """Takes the weights of ours, and gives what it gives."""

    def __init__(self, of: ours.ModulatedConv) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.of.modulation(w) / math.sqrt(self.of.weight[0].numel())
        y = modulated_conv_by_weights(x, self.of.weight, style, demodulate=not self.of.rgb, up=self.of.up)
        if self.of.up:
            y = plain_upfirdn(y, self.of.blur.kernel, pad=self.of.blur.pad)
        return y if self.of.rgb else y * ours.ROOT


class PlainResample(nn.Module):
    def __init__(self, of: ours.Resample) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        return plain_upfirdn(x, self.of.kernel, up=self.of.up, down=self.of.down, pad=self.of.pad)


def straightened(network: nn.Module) -> nn.Module:
    """The network with the same weights and the operations replaced."""
    for name, child in list(network.named_children()):
        if isinstance(child, ours.ModulatedConv):
            setattr(network, name, PlainModulatedConv(child))
        elif isinstance(child, ours.Resample):
            # `Sequential` holds its own by numbers.
            network._modules[name] = PlainResample(child)
        else:
            straightened(child)
    return network


def there_and_back(f: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    def work() -> Tensor:
        y = f(x)
        (slope,) = torch.autograd.grad(y.square().sum(), x)
        return slope

    return work


def operations(setting: Setting) -> list[Row]:
    """StyleGAN2's resampling and modulated convolutions, forward and backward, against a straightforward form."""
    rows, size = [], setting.size // 4
    kernel = kernel_of((1, 3, 3, 1))
    for name, channels, options in (
        ("blur", 64, {"pad": (2, 2)}),
        ("halve", 64, {"down": 2, "pad": (1, 1)}),
        ("double", 64, {"up": 2, "pad": (2, 1)}),
    ):
        x = torch.randn(8, channels, size, size).requires_grad_()
        fast = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()

        def of(f: Callable[..., Tensor], options: dict[str, Any] = options) -> Callable[[Tensor], Tensor]:
            return lambda y: f(y, kernel, **options)

        pair = Pair(there_and_back(of(plain_upfirdn), x), {"ours": there_and_back(of(upfirdn), fast)})
        case = f"{name}, 8 x {channels} x {size} x {size}"
        rows += measured("stylegan2_operations", case, [pair] * setting.rounds, setting).values()
    for up in (False, True):
        options = Network(size=32, channels=(64,) * 4, style_dim=64)
        conv = ours.ModulatedConv(64, 64, 3, options, up=up)
        w = torch.randn(8, 64)
        x = torch.randn(8, 64, size, size).requires_grad_()
        fast = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        plain = PlainModulatedConv(conv)
        pair = Pair(
            there_and_back(lambda x, w=w, plain=plain: plain(x, w), x),
            {"ours": there_and_back(lambda x, w=w, conv=conv: conv(x, w), fast)},
        )
        case = f"modulated convolution{', up' if up else ''}, 8 x 64 x {size} x {size}"
        rows += measured("stylegan2_operations", case, [pair] * setting.rounds, setting).values()
    return rows


def step_of(size: int, channels: tuple[int, ...], penalties: bool, *, plain: bool) -> Work:
    torch.manual_seed(0)
    network = Network(size=size, channels=channels, style_dim=128, mapping_layers=4)
    recipe = StyleGAN2Recipe(network, Training(batch=8))
    if plain:
        straightened(recipe.G)
        straightened(recipe.D)
    else:
        recipe.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    recipe.train()
    photo = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def work() -> Tensor:
        return torch.stack(list(recipe.step(Squares(photo), 0 if penalties else 1).values()))

    return work


def training(setting: Setting) -> list[Row]:
    """StyleGAN2, an iteration: plain, and with both penalties, which differentiate twice."""
    rows = []
    size, width = (32, 32) if setting.quick else (64, setting.width)
    channels = (width,) * (size.bit_length() - 3) + (width // 2,)
    for penalties in (False, True):
        case = f"an iteration{' with R1 and path length' if penalties else ''}, 8 x {size} x {size}, width {width}"
        plain, fast = (step_of(size, channels, penalties, plain=way) for way in (True, False))
        pairs = [Pair(plain, {"ours": fast})] * setting.rounds
        rows += measured("stylegan2_training", case, pairs, setting, warm="nothing", compare=False).values()
    return rows


BENCHMARKS = {"stylegan2_operations": operations, "stylegan2_training": training}
