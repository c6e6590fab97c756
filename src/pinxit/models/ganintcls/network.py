"""Networks of GAN-INT-CLS (Reed et al. 2016, sec. 4.1 and fig. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.models.ganintcls.config import Network
from pinxit.nn.conditioning import SLOPE, Bottleneck, Projection, begin, beside, convolved, doubled, halved, unfolded


class Generator(nn.Module):
    """Noise and a sentence to a picture, by transposed convolutions; text is projected and joined with the noise."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width = options.g_width
        self.text = Projection(options.text_dim, options.condition_dim)
        self.layers = nn.Sequential(
            unfolded(options.z_dim + options.condition_dim, 8 * width, None),
            Bottleneck(8 * width, 2 * width),
            doubled(8 * width, 4 * width, None),
            Bottleneck(4 * width, width),
            doubled(4 * width, 2 * width),
            doubled(2 * width, width),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1, bias=False),
        )
        begin(self)

    def forward(self, z: Tensor, text: Tensor) -> Tensor:
        """z [N, z_dim], text [N, text_dim] -> [N, 3, 64, 64] in [-1, 1]."""
        condition = torch.cat([z, self.text(text).to(z.dtype)], dim=1)
        return torch.tanh(self.layers(condition[:, :, None, None]).float())


class Discriminator(nn.Module):
    """How real a picture is as one of its sentence: the text stands at each of the 4x4 places of its features."""

    def __init__(self, options: Network) -> None:
        super().__init__()
        width = options.d_width
        self.text = Projection(options.text_dim, options.condition_dim, norm=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            halved(width, 2 * width),
            halved(2 * width, 4 * width),
            halved(4 * width, 8 * width),
        )
        self.verdict = nn.Sequential(
            convolved(8 * width + options.condition_dim, 8 * width, 1),
            nn.Conv2d(8 * width, 1, 4, bias=False),
        )
        begin(self)

    def forward(self, picture: Tensor, text: Tensor) -> Tensor:
        """picture [N, 3, 64, 64], text [N, text_dim] -> logits [N]."""
        return self.verdict(beside(self.features(picture), self.text(text))).flatten().float()
