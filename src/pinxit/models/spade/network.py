"""The networks of SPADE: generator, style encoder, multi-scale discriminator (Park et al. 2019, appendix A)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.spade.config import UPSAMPLINGS, Network, Training
from pinxit.nn.norm import BatchNorm2d, InstanceNorm2d, SpectralConv2d
from pinxit.nn.semantics import boundary, one_hot


def semantic_channels(c: Network) -> int:
    return c.labels + c.unknown + c.instances


def embed(labels: Tensor, instances: Tensor | None, c: Network) -> Tensor:
    """Label ids [N, H, W] int64 and instance ids [N, H, W] -> [N, S, H, W] of 0 and 1.

    Channels: one per known label, then 'unknown' if the model has it, then the instance boundary if it has that: 1 on
    both pixels of every pair of 4-neighbours whose instances differ.
    """
    hot = one_hot(labels, c.labels + c.unknown)
    if not c.instances:
        return hot
    assert instances is not None
    return torch.cat([hot, boundary(instances)], dim=1)


class SPADE(nn.Module):
    """Normalise, then let a label map scale and shift every pixel (Park et al. 2019, eq. 1).

    `gamma` is an offset from 1, as in the official code; the paper writes it as the scale itself.
    """

    def __init__(self, channels: int, c: Network) -> None:
        super().__init__()
        self.norm = (
            InstanceNorm2d(channels)
            if c.norm == "instance"
            else BatchNorm2d(channels, sync=c.norm == "sync_batch", picture_at_test=c.norm_at_test == "batch")
        )
        pad = c.kernel // 2
        self.shared = nn.Conv2d(semantic_channels(c), c.hidden, c.kernel, padding=pad)
        self.gamma = nn.Conv2d(c.hidden, channels, c.kernel, padding=pad)
        self.beta = nn.Conv2d(c.hidden, channels, c.kernel, padding=pad)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        """x [N, C, H, W], semantics [N, S, H, W] -> [N, C, H, W]."""
        hidden = F.relu(self.shared(semantics))
        # In the official code's order of operations, so that results agree to the last bit: L1 losses have kinks, at
        # which a rounding error of another order can turn a gradient's sign.
        return self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SPADEBlock(nn.Module):
    """Residual block with SPADE before each convolution (fig. 10); the shortcut is learnt where widths differ."""

    def __init__(self, inputs: int, outputs: int, c: Network) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        conv = SpectralConv2d if c.spectral else nn.Conv2d
        self.norm_0, self.norm_1 = SPADE(inputs, c), SPADE(middle, c)
        self.conv_0, self.conv_1 = conv(inputs, middle, 3, padding=1), conv(middle, outputs, 3, padding=1)
        self.learned = inputs != outputs
        if self.learned:
            self.norm_s, self.conv_s = SPADE(inputs, c), conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        dx = self.conv_0(F.leaky_relu(self.norm_0(x, semantics), 0.2))
        dx = self.conv_1(F.leaky_relu(self.norm_1(dx, semantics), 0.2))
        return (self.conv_s(self.norm_s(x, semantics)) if self.learned else x) + dx

    def units(self) -> list[SPADE]:
        return [self.norm_0, self.norm_1, *([self.norm_s] if self.learned else [])]


class Generator(nn.Module):
    """Label map (and style z) -> picture (fig. 4 and 11)."""

    def __init__(self, c: Network) -> None:
        super().__init__()
        self.config = c
        self.doublings = UPSAMPLINGS[c.upsamplings]
        self.grid = (c.size[0] >> self.doublings, c.size[1] >> self.doublings)
        top = 16 * c.width
        self.first = (
            nn.Linear(c.z_dim, top * self.grid[0] * self.grid[1])
            if c.vae
            else nn.Conv2d(semantic_channels(c), top, 3, padding=1)
        )
        self.head = SPADEBlock(top, top, c)
        self.middle = nn.ModuleList([SPADEBlock(top, top, c), SPADEBlock(top, top, c)])
        widths = [top, top // 2, top // 4, top // 8, top // 16] + ([top // 32] if c.upsamplings == "most" else [])
        self.up = nn.ModuleList([SPADEBlock(i, o, c) for i, o in pairwise(widths)])
        self.to_picture = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, labels: Tensor, instances: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        """labels [N, H, W] int64, instances likewise, z [N, z_dim] -> picture [N, 3, H, W] in [-1, 1].

        H and W must be multiples of 2 to the number of doublings. With a VAE, another size than the trained one
        stretches the first feature map, since a linear layer made it for that size alone.
        """
        semantics = embed(labels, instances, self.config)
        x = self.of_style(z, self.grid_of(labels)) if self.config.vae else self.start(semantics, self.grid_of(labels))
        for block, factor in self.blocks():
            x = double(x) if factor == 2 else x
            # Nearest, as the official code; all SPADE units of one block share the reduced map.
            x = block(x, F.interpolate(semantics, x.shape[2:], mode="nearest"))
        return torch.tanh(self.to_picture(F.leaky_relu(x, 0.2)))

    def blocks(self) -> list[tuple[SPADEBlock, int]]:
        """Each block in turn, and by how much what it is given is enlarged before."""
        middle = 1 if self.config.upsamplings == "normal" else 2
        factors = [1, 2, middle, *[2] * len(self.up)]
        return list(zip([self.head, *self.middle, *self.up], factors, strict=True))  # pyright: ignore[reportReturnType]

    def grid_of(self, labels: Tensor) -> tuple[int, int]:
        """Height and width of the first feature map."""
        return labels.shape[1] >> self.doublings, labels.shape[2] >> self.doublings

    def start(self, semantics: Tensor, grid: tuple[int, int]) -> Tensor:
        """The first feature map, without a VAE."""
        return self.first(F.interpolate(semantics, grid, mode="nearest"))

    def of_style(self, z: Tensor | None, grid: tuple[int, int]) -> Tensor:
        """The first feature map, with a VAE."""
        assert z is not None
        x = self.first(z).unflatten(1, (-1, *self.grid))
        return x if grid == self.grid else F.interpolate(x, grid, mode="bilinear", align_corners=False)


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Encoder(nn.Module):
    """Photo -> the mean and log-variance of its style z (fig. 14)."""

    def __init__(self, c: Network) -> None:
        super().__init__()
        w = c.width
        widths = [3, w, 2 * w, 4 * w, 8 * w, 8 * w, 8 * w]
        self.layers = nn.ModuleList(
            [NormedConv(i, o, 3, stride=2, padding=1, norm=c.encoder_norm, spectral=True) for i, o in pairwise(widths)]
        )
        self.mean = nn.Linear(8 * w * 4 * 4, c.z_dim)
        self.log_variance = nn.Linear(8 * w * 4 * 4, c.z_dim)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """photo [N, 3, H, W] in [-1, 1], of any size -> mean and log-variance, each [N, z_dim]."""
        x = photo
        if x.shape[2:] != (256, 256):
            x = F.interpolate(x, (256, 256), mode="bilinear", align_corners=False)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        x = x.flatten(1)
        return self.mean(x), self.log_variance(x)


class NormedConv(nn.Module):
    """A convolution and the norm behind it; the convolution has a bias only where no norm would remove it."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, padding: int, norm: str, spectral: bool
    ) -> None:
        super().__init__()
        conv = SpectralConv2d if spectral else nn.Conv2d
        self.conv = conv(inputs, outputs, kernel, stride=stride, padding=padding, bias=norm == "none")
        match norm:
            case "instance":
                self.norm = InstanceNorm2d(outputs)
            case "batch":
                self.norm = BatchNorm2d(outputs, affine=True)
            case _:
                self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class PatchDiscriminator(nn.Module):
    """One PatchGAN (Isola et al. 2017) as SPADE has it: kernel 4, padding 2, the last normed layer at stride 1."""

    def __init__(self, inputs: int, t: Training) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, t.d_width, 4, stride=2, padding=2)
        widths = [min(t.d_width << i, 512) for i in range(t.d_layers)]
        self.layers = nn.ModuleList(
            [
                NormedConv(
                    a, b, 4, stride=1 if i == t.d_layers - 2 else 2, padding=2, norm=t.d_norm, spectral=t.d_spectral
                )
                for i, (a, b) in enumerate(pairwise(widths))
            ]
        )
        self.logits = nn.Conv2d(widths[-1], 1, 4, stride=1, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, S + 3, H, W] -> the output of each layer, the last being the logits [N, 1, h, w]."""
        outputs = [F.leaky_relu(self.first(x), 0.2)]
        for layer in self.layers:
            outputs.append(F.leaky_relu(layer(outputs[-1]), 0.2))
        return [*outputs, self.logits(outputs[-1])]


class Discriminator(nn.Module):
    """Patch discriminators at full, half, ... resolution (Wang et al. 2018, sec. 3.2)."""

    def __init__(self, c: Network, t: Training) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PatchDiscriminator(semantic_channels(c) + 3, t) for _ in range(t.d_scales)])

    def forward(self, semantics: Tensor, picture: Tensor) -> list[list[Tensor]]:
        """[N, S, H, W] and [N, 3, H, W] -> for each scale the outputs of each layer."""
        x = torch.cat([semantics, picture], dim=1)
        outputs = []
        for D in self.scales:
            outputs.append(D(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return outputs
