"""Networks of StackGAN (Zhang et al. 2017, sec. 3): conditioning augmentation, two generators, two discriminators."""

from __future__ import annotations

import math
from contextlib import nullcontext
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinxit.models.stackgan.config import FIRST, Network
from pinxit.nn.conditioning import beside
from pinxit.nn.norm import BatchNorm2d

GRID = 16
"""Side of the feature maps at which Stage-II joins picture and text."""
JUDGED = 4
"""Side of those at which discriminators do."""


class Condition(NamedTuple):
    """What conditioning augmentation makes of a sentence: a Gaussian, and a draw from it."""

    c: Tensor
    """[N, C]."""
    mean: Tensor
    """[N, C], 0 and above."""
    log_variance: Tensor
    """[N, C], 0 and above."""


class Augmentation(nn.Module):
    """Conditioning augmentation (sec. 3.2): c ~ N(mean(text), variance(text)).

    As in the official code mean and log variance go through a ReLU, so that no variance is below 1. In float32.
    """

    def __init__(self, text: int, condition: int) -> None:
        super().__init__()
        self.fc = nn.Linear(text, 2 * condition)

    def forward(self, text: Tensor, eps: Tensor) -> Condition:
        """text [N, T], eps [N, C] standard normal."""
        # Of the device on which operations are but counted, autocast knows nothing.
        counting = text.device.type == "meta"
        with nullcontext() if counting else torch.autocast(text.device.type, enabled=False):
            mean, log_variance = self.fc(text.float()).relu().chunk(2, dim=1)
            return Condition(mean + eps * (0.5 * log_variance).exp(), mean, log_variance)


class StageOne(nn.Module):
    """Stage-I's generator: noise and text -> the rough shape and colours, 64x64."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        widths = [8 * options.first_width >> i for i in range(int(math.log2(FIRST // JUDGED)) + 1)]
        self.ca = Augmentation(options.text_dim, options.first_condition)
        self.fc = nn.Linear(options.z_dim + options.first_condition, widths[0] * JUDGED**2, bias=False)
        self.norm = BatchNorm2d(widths[0] * JUDGED**2, affine=True)
        self.upsample = upsampling(widths)
        self.image = nn.Conv2d(widths[-1], 3, 3, padding=1, bias=False)

    def forward(self, text: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Condition]:
        """text [N, T], z [N, z_dim], eps [N, C] -> pictures [N, 3, 64, 64] in [-1, 1], and what the text became."""
        condition = self.ca(text, eps)
        h = self.fc(torch.cat([z, condition.c], dim=1))[:, :, None, None]
        h = self.norm(h).relu().view(len(h), -1, JUDGED, JUDGED)
        return self.image(self.upsample(h)).float().tanh(), condition


class StageTwo(nn.Module):
    """Stage-II's generator: Stage-I's picture and the text once more -> the picture in detail."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width = options.g_width
        self.ca = Augmentation(options.text_dim, options.condition_dim)
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.ReLU(),
            *(part for i in range(2) for part in halving(width << i, width << (i + 1), nn.ReLU())),
        )
        self.joint = nn.Sequential(*normed(4 * width + options.condition_dim, 4 * width), nn.ReLU())
        self.residual = nn.Sequential(*(Residual(4 * width) for _ in range(options.residuals)))
        widths = [4 * width >> i for i in range(int(math.log2(options.size // GRID)) + 1)]
        self.upsample = upsampling(widths)
        self.image = nn.Conv2d(widths[-1], 3, 3, padding=1, bias=False)

    def forward(self, rough: Tensor, text: Tensor, eps: Tensor) -> tuple[Tensor, Condition]:
        """rough [N, 3, 64, 64], text [N, T], eps [N, C] -> pictures [N, 3, size, size] in [-1, 1]."""
        condition = self.ca(text, eps)
        encoded = self.encoder(rough)
        h = self.joint(beside(encoded, condition.c))
        return self.image(self.upsample(self.residual(h))).float().tanh(), condition


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*normed(channels, channels), nn.ReLU(), *normed(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.block(x)).relu()


class Discriminator(nn.Module):
    """Either stage's: features of a picture, which a head judges with the condition, and another alone.

    Strided convolutions take any size to 4x4; where that made more than 8 times `width` channels, convolutions take it
    back to as many. `alone` is None where Stage-II's pictures are judged with their text only, and in Stage-I.
    """

    def __init__(self, size: int, width: int, condition: int, unconditional: bool) -> None:
        super().__init__()
        steps = int(math.log2(size // JUDGED))
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2)]
        for i in range(steps - 1):
            layers += halving(width << i, width << (i + 1), nn.LeakyReLU(0.2))
        for i in range(steps - 1, 3, -1):
            layers += [*normed(width << i, width << (i - 1)), nn.LeakyReLU(0.2)]
        last = 8 * width
        self.encode = nn.Sequential(*layers)
        self.with_text = nn.Sequential(*normed(last + condition, last), nn.LeakyReLU(0.2), nn.Conv2d(last, 1, 4))
        self.alone = nn.Sequential(nn.Conv2d(last, 1, 4)) if unconditional else None

    def forward(self, picture: Tensor) -> Tensor:
        """[N, 3, size, size] -> features [N, 8 width, 4, 4]."""
        return self.encode(picture)

    def matching(self, features: Tensor, condition: Tensor) -> Tensor:
        """Logits [N] of a real picture that its text, mean [N, C], fits."""
        return self.with_text(beside(features, condition)).flatten()

    def real(self, features: Tensor) -> Tensor | None:
        """Logits [N] of a real picture, whatever its text."""
        return None if self.alone is None else self.alone(features).flatten()


def discriminator_of(options: Network, stage: int) -> Discriminator:
    """The discriminator of a stage: Stage-I's has no head for pictures alone."""
    if stage == 1:
        return Discriminator(FIRST, options.d_width, options.first_condition, unconditional=False)
    return Discriminator(options.size, options.d_width, options.condition_dim, options.unconditional)


def normed(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), BatchNorm2d(outputs, affine=True)]


def halving(inputs: int, outputs: int, activation: nn.Module) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [convolution, BatchNorm2d(outputs, affine=True), activation]


def upsampling(widths: list[int]) -> nn.Sequential:
    """Blocks that double the side: nearest neighbour, a convolution, batch norm, ReLU."""
    blocks = [
        nn.Sequential(nn.Upsample(scale_factor=2), *normed(inputs, outputs), nn.ReLU())
        for inputs, outputs in pairwise(widths)
    ]
    return nn.Sequential(*blocks)
