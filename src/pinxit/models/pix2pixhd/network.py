"""The networks of pix2pixHD: coarse-to-fine generator, feature encoder, multi-scale discriminator (Wang et al. 2018).

Every convolution has a bias, also in front of a norm, as in the official code.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pinxit.models.pix2pixhd.config import Network, Training
from pinxit.nn.quick import QuickConv2d, QuickConvTranspose2d
from pinxit.nn.resnet import ResnetBlock, norm_layer
from pinxit.nn.semantics import boundary, one_hot
from pinxit.nn.slim import ReflectionPad2d, SlimConv2d


def semantic_channels(c: Network) -> int:
    """Channels of what discriminators see beside a picture."""
    if c.source == "labels":
        return c.labels + c.unknown + c.instances
    assert c.input is not None
    return c.input.channels + c.instances


def feature_channels(c: Network) -> int:
    return 0 if c.features == "none" else c.feature_channels


def picture_channels(c: Network) -> int:
    return 3 if c.output is None else c.output.channels


def embed(source: Tensor, instances: Tensor | None, c: Network) -> Tensor:
    """Label indices [N, H, W] int64, or pictures [N, C, H, W] in [-1, 1], and instance ids [N, H, W] -> [N, S, H, W].

    Channels: one per label ('unknown' last) or those of the picture, then the boundary of instances.
    """
    channels = one_hot(source, c.labels + c.unknown) if c.source == "labels" else source
    if not c.instances:
        return channels
    assert instances is not None
    return torch.cat([channels, boundary(instances)], dim=1)


def norm(channels: int, c: Network) -> nn.Module:
    """The norm behind a convolution."""
    return norm_layer(c.norm, channels, c.test_norm == "picture")


def edge(inputs: int, outputs: int) -> list[nn.Module]:
    """The 7x7 convolution by which a network begins and ends."""
    return [ReflectionPad2d(3), SlimConv2d(inputs, outputs, 7)]


def halve(width: int, c: Network) -> list[nn.Module]:
    return [QuickConv2d(width, 2 * width, 3, stride=2, padding=1), norm(2 * width, c), nn.ReLU(inplace=True)]


def double(width: int, c: Network) -> list[nn.Module]:
    up = QuickConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
    return [up, norm(width // 2, c), nn.ReLU(inplace=True)]


def residual(width: int, c: Network) -> ResnetBlock:
    return ResnetBlock(width, c.norm, picture_at_test=c.test_norm == "picture", bias=True)


class Enhancer(nn.Module):
    """A local enhancer G2 (sec. 3.1): what it makes of the finer input is added to the features of the coarser part."""

    def __init__(self, inputs: int, width: int, c: Network) -> None:
        super().__init__()
        self.down = nn.Sequential(*edge(inputs, width), norm(width, c), nn.ReLU(inplace=True), *halve(width, c))
        blocks = [residual(2 * width, c) for _ in range(c.enhancer_blocks)]
        self.up = nn.Sequential(*blocks, *double(2 * width, c))


class Generator(nn.Module):
    """The global generator G1 and, up to `level`, the local enhancers around it (sec. 3.1, fig. 3).

    `level` None: all of them. One with less paints pictures of half the size for each that is missing; `grow` adds the
    next. `checkpointing`: compute activations anew in the backward pass.
    """

    def __init__(self, c: Network, level: int | None = None, checkpointing: bool = False) -> None:
        super().__init__()
        self.config, self.checkpointing = c, checkpointing
        self.inputs = semantic_channels(c) + feature_channels(c)
        width = c.width << c.enhancers
        layers = [*edge(self.inputs, width), norm(width, c), nn.ReLU(inplace=True)]
        for i in range(c.downsamplings):
            layers += halve(width << i, c)
        layers += [residual(width << c.downsamplings, c) for _ in range(c.blocks)]
        for i in range(c.downsamplings, 0, -1):
            layers += double(width << i, c)
        self.model = nn.Sequential(*layers)
        self.enhancers = nn.ModuleList()
        self.head = self._head()
        for _ in range(c.enhancers if level is None else level):
            self.grow()

    def grow(self) -> None:
        """Add the next enhancer, and a new last convolution, as its features are others."""
        self.enhancers.append(
            Enhancer(self.inputs, self.config.width << (self.config.enhancers - self.level - 1), self.config)
        )
        self.head = self._head()

    @property
    def level(self) -> int:
        return len(self.enhancers)

    def _head(self) -> nn.Sequential:
        width = self.config.width << (self.config.enhancers - self.level)
        return nn.Sequential(*edge(width, picture_channels(self.config)), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Semantics, and features where there are any, [N, S (+ F), H, W] -> picture [N, C, H, W] in [-1, 1].

        H and W must be multiples of `Network.multiple`.
        """
        pyramid = [x]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        x = self.run(self.model, pyramid.pop())
        for enhancer in self.enhancers:
            assert isinstance(enhancer, Enhancer)
            x = self.run(enhancer.up, self.run(enhancer.down, pyramid.pop()) + x)
        return self.run(self.head, x)

    def run(self, layers: nn.Sequential, x: Tensor) -> Tensor:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return layers(x)
        for part in parts(layers):
            x = checkpoint(part, x, use_reentrant=False, preserve_rng_state=False)
        return x


def parts(layers: nn.Sequential) -> Iterator[nn.Sequential]:
    """Each convolution with what belongs to it, so that only what goes in is kept."""
    begin = 0
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU | ResnetBlock) or i + 1 == len(layers):
            yield nn.Sequential(*list(layers)[begin : i + 1])
            begin = i + 1


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


class Encoder(nn.Module):
    """Photo -> features of every pixel (sec. 3.4, fig. 6); `features.instance_means` makes them features of objects."""

    def __init__(self, c: Network) -> None:
        super().__init__()
        w = c.encoder_width
        layers = [*edge(picture_channels(c), w), norm(w, c), nn.ReLU(inplace=True)]
        for i in range(c.encoder_downsamplings):
            layers += halve(w << i, c)
        for i in range(c.encoder_downsamplings, 0, -1):
            layers += double(w << i, c)
        self.model = nn.Sequential(*layers, *edge(w, c.feature_channels), nn.Tanh())

    def forward(self, photo: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1] -> [N, F, H, W] in [-1, 1]."""
        return self.model(photo)


class PatchDiscriminator(nn.Module):
    """One PatchGAN (Isola et al. 2017) with kernel 4 and padding 2, its last two layers at stride 1."""

    def __init__(self, c: Network, t: Training) -> None:
        super().__init__()
        widths = [min(t.d_width << i, 512) if i else t.d_width for i in range(t.d_layers + 1)]
        inputs = semantic_channels(c) + picture_channels(c)
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(inputs, widths[0], 4, stride=2, padding=2))])
        for i in range(t.d_layers):
            conv = QuickConv2d(widths[i], widths[i + 1], 4, stride=2 if i + 1 < t.d_layers else 1, padding=2)
            self.layers.append(nn.Sequential(conv, norm(widths[i + 1], c)))
        self.layers.append(nn.Sequential(SlimConv2d(widths[-1], 1, 4, stride=1, padding=2)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, S + C, H, W] -> the output of each layer, the last being the logits [N, 1, h, w]."""
        outputs = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
            outputs.append(x)
        return [*outputs, self.layers[-1](x)]


class Discriminator(nn.Module):
    """Patch discriminators at full, half, ... resolution (sec. 3.2); `scales` has the coarsest first."""

    def __init__(self, c: Network, t: Training, scales: int | None = None) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PatchDiscriminator(c, t) for _ in range(scales or t.d_scales)])

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Semantics and picture [N, S + C, H, W] -> for each scale, the finest first, the outputs of each layer."""
        outputs = []
        for i, D in enumerate(reversed(self.scales)):
            x = halved(x) if i else x
            outputs.append(D(x))
        return outputs
