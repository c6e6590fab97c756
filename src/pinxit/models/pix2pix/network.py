"""The U-Net generator of pix2pix (Isola et al. 2017, sec. 3.2.1 and appendix 6.1), and which networks options mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.pix2pix.config import Network, Training
from pinxit.nn.dropout import Dropout
from pinxit.nn.patchgan import NLayerDiscriminator, PixelDiscriminator
from pinxit.nn.quick import QuickConv2d, QuickConvTranspose2d
from pinxit.nn.resnet import ResnetGenerator, has_bias, norm_layer


class UNet(nn.Module):
    """Encoder and decoder, each layer of the one joined to the layer of the other at its resolution.

    Layer 0 works at full resolution, the last at the coarsest; `down[i]` halves and `up[i]` doubles. What is handed
    across is what the next halving sees: after its leaky ReLU, as in the official code, where that works in place.
    """

    def __init__(self, channels_in: int, channels_out: int, c: Network) -> None:
        super().__init__()
        self.depth = c.depth
        widths = [c.width * min(1 << i, c.widest) for i in range(c.depth)]
        bias = has_bias(c.norm)

        def norm(i: int, channels: int) -> nn.Module:
            return norm_layer(c.norm, channels, c.test_norm == "picture") if i >= 0 else nn.Identity()

        before = [channels_in, *widths]
        self.down = nn.ModuleList(
            [QuickConv2d(before[i], before[i + 1], 4, stride=2, padding=1, bias=bias) for i in range(c.depth)]
        )
        # None at either end: the first layer has none, and at the last's one pixel there is nothing to normalise.
        self.down_norms = nn.ModuleList([norm(i if i < c.depth - 1 else -1, widths[i]) for i in range(c.depth)][1:-1])
        after = [channels_out, *widths]
        self.up = nn.ModuleList(
            [
                QuickConvTranspose2d(
                    widths[i] * (1 if i == c.depth - 1 else 2), after[i], 4, stride=2, padding=1, bias=bias or i == 0
                )
                for i in range(c.depth)
            ]
        )
        self.up_norms = nn.ModuleList([norm(i, after[i]) for i in range(1, c.depth)])
        # In all layers of full width but the innermost.
        noisy = range(4, c.depth - 1) if c.dropout else ()
        self.dropouts = nn.ModuleDict({str(i): Dropout(0.5, c.test_dropout) for i in noisy})

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of."""
        return 1 << self.depth

    @property
    def margin(self) -> int:
        """How far away a pixel of the input may be from one of the output that hangs on it, norms aside."""
        farthest = 0
        for pixel in range(self.multiple):
            first = last = pixel
            for _ in range(self.depth):  # back through the doublings: which pixels below does this one hang on?
                first, last = (first - 1) // 2, (last + 1) // 2
            for _ in range(self.depth):
                first, last = 2 * first - 1, 2 * last + 2
            farthest = max(farthest, pixel - first, last - pixel)
        return farthest

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1] -> [N, C', H, W] in [-1, 1]; H and W multiples of 2^depth."""
        across = []
        x = self.down[0](x)
        for i in range(1, self.depth):
            x = F.leaky_relu(x, 0.2)
            across.append(x)
            x = self.down[i](x)
            if i < self.depth - 1:
                x = self.down_norms[i - 1](x)
        for i in range(self.depth - 1, 0, -1):
            x = self.up_norms[i - 1](self.up[i](F.relu(x)))
            if str(i) in self.dropouts:
                x = self.dropouts[str(i)](x)
            x = torch.cat([across.pop(), x], dim=1)
        return torch.tanh(self.up[0](F.relu(x)))


def generator(c: Network) -> UNet | ResnetGenerator:
    """Input [N, C, H, W] -> output [N, C', H, W]; `c.input` and `c.output` must be known."""
    assert c.input is not None
    assert c.output is not None
    if c.generator == "unet":
        return UNet(c.input.channels, c.output.channels, c)
    return ResnetGenerator(
        c.input.channels,
        c.output.channels,
        c.width,
        c.blocks,
        c.norm,
        0.5 if c.dropout else 0.0,
        picture_at_test=c.test_norm == "picture",
        dropout_at_test=c.test_dropout,
    )


def discriminator(c: Network, t: Training) -> NLayerDiscriminator | PixelDiscriminator:
    """Input and output, joined by channels [N, C + C', H, W] -> logits [N, 1, h, w]."""
    assert c.input is not None
    assert c.output is not None
    channels = c.input.channels + c.output.channels
    if t.discriminator == "pixel":
        return PixelDiscriminator(channels, t.d_width, c.norm)
    return NLayerDiscriminator(channels, t.d_width, t.d_layers, c.norm)
