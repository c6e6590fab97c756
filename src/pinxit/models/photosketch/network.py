"""The translator of PhotoSketch, and the discriminator of whole drawings (Li et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from pinxit.models.photosketch.config import Network, Training
from pinxit.nn.dropout import Dropout
from pinxit.nn.patchgan import NLayerDiscriminator
from pinxit.nn.resnet import Norm, ResnetGenerator, has_bias, norm_layer


def generator(c: Network) -> ResnetGenerator:
    """Photos [N, 3, H, W] in [-1, 1] -> drawings [N, 1, H, W] in [-1, 1], lines dark, paper 1.

    Its blocks have a dropout layer always, of probability 0 where there is none to be, as in the official code: names
    of weights count it. In train mode batch norm takes the statistics of the batch, and gradients flow through them.
    """
    G = ResnetGenerator(3, 1, c.width, c.blocks, c.norm, 0.5, picture_at_test=c.test_norm == "picture")
    return G if c.dropout else without_dropout(G)


def without_dropout(G: ResnetGenerator) -> ResnetGenerator:
    """The same network, whose dropout layers do nothing in train mode either."""
    for module in G.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    return G


class GlobalDiscriminator(nn.Module):
    """Halvings without padding until 6x6 places are left, of which a last convolution makes one (official `global_np`).

    The numbers in names of weights are those of the official code (github mtli/PhotoSketch).
    """

    def __init__(self, channels: int, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        bias = has_bias(norm)
        model: list[nn.Module] = [nn.Conv2d(channels, width, 8, stride=2), nn.LeakyReLU(0.2, inplace=True)]
        for i, kernel in enumerate((3, 4, 4)):
            conv = nn.Conv2d(width << i, width << (i + 1), kernel, stride=2, bias=bias)
            model += [conv, norm_layer(norm, width << (i + 1)), nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(
            *model,
            nn.Conv2d(width << 3, 1, 4, stride=2),
            nn.Conv2d(1, 1, 6, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W], sides 256 or more -> logits [N, 1, h, w]: of 256x256 pixels, one."""
        return self.model(x)


def discriminator(c: Network, t: Training) -> NLayerDiscriminator | GlobalDiscriminator:
    """Photo and drawing, joined by channels [N, 4, H, W] -> logits [N, 1, h, w]."""
    if t.discriminator == "global":
        return GlobalDiscriminator(4, t.d_width, c.norm)
    return NLayerDiscriminator(4, t.d_width, t.d_layers, c.norm)
