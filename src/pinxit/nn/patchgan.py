"""Discriminators that judge every patch of a picture, or every pixel (Isola et al. 2017, sec. 3.2.2).

The numbers in names of weights are those of the official code (github junyanz/pytorch-CycleGAN-and-pix2pix).
"""

from __future__ import annotations

from torch import Tensor, nn

from pinxit.errors import expected
from pinxit.nn.quick import QuickConv2d
from pinxit.nn.resnet import Norm, has_bias, norm_layer
from pinxit.nn.slim import SlimConv2d


class NLayerDiscriminator(nn.Module):
    """PatchGAN: `layers` halvings, then two convolutions at stride 1; 3 of them see patches of 70x70 pixels."""

    def __init__(self, channels: int, width: int = 64, layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        widths = [width * min(1 << i, 8) for i in range(layers + 1)]
        model: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for i in range(layers):
            stride = 2 if i + 1 < layers else 1
            model += [
                QuickConv2d(widths[i], widths[i + 1], 4, stride=stride, padding=1, bias=has_bias(norm)),
                norm_layer(norm, widths[i + 1]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.model = nn.Sequential(*model, SlimConv2d(widths[-1], 1, 4, stride=1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, 1, h, w], h = H / 2^layers - 2."""
        return self.model(x)


class PixelDiscriminator(nn.Module):
    """PixelGAN: 1x1 convolutions alone, so that colours are judged and nothing else."""

    def __init__(self, channels: int, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        bias = has_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, 1, H, W]."""
        return self.net(x)


def require_room(layers: int, height: int, width: int) -> None:
    """Raises `PinxitError` where so many halvings leave too little of a picture for a patch discriminator.

    Its last two convolutions take a pixel each, and the norm between them wants two.
    """
    side = min(height, width)
    if side >> layers < 3:
        want = f"{max(0, (side // 3).bit_length() - 1)} or fewer for pictures of {height}x{width} (height x width)"
        raise expected("--d-layers", layers, want, "lower it, or train at a larger --size")
