"""The networks of SinGAN (Rott Shaham et al. 2019, fig. 5): at each scale five convolutions that see 11 x 11 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from pinxit.models.singan.config import Network
from pinxit.nn.quick import QuickConv2d
from pinxit.nn.twice import BatchNorm2d


class Block(nn.Sequential):
    """Convolution without padding, batch norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = QuickConv2d(inputs, outputs, kernel)
        self.norm = BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(0.2, inplace=True)


def trunk(network: Network, scale: int) -> tuple[nn.Sequential, int]:
    """All blocks but the last layer, and their output's channels; each block half as wide as the one before."""
    width, least = network.widths(scale)
    blocks = [Block(3, width, network.kernel)]
    for i in range(1, network.layers - 1):
        inputs, outputs = 2 * (width >> i), width >> i
        blocks.append(Block(max(inputs, least), max(outputs, least), network.kernel))
    return nn.Sequential(*blocks), max(width >> (network.layers - 2), least)


class Generator(nn.Module):
    """One scale: what is missing in the enlarged picture of the scale below (eq. 3)."""

    def __init__(self, network: Network, scale: int) -> None:
        super().__init__()
        self.margin = network.margin
        self.blocks, channels = trunk(network, scale)
        self.tail = nn.Conv2d(channels, 3, network.kernel)
        initialize(self)

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        """x: `previous` plus noise; both [N, 3, H + 2 margin, W + 2 margin] -> [N, 3, H, W]."""
        m = self.margin
        return self.tail(self.blocks(x)).tanh() + previous[..., m:-m, m:-m]


class Discriminator(nn.Module):
    """A critic of overlapping patches, each as large as the receptive field."""

    def __init__(self, network: Network, scale: int) -> None:
        super().__init__()
        self.blocks, channels = trunk(network, scale)
        self.tail = nn.Conv2d(channels, 1, network.kernel)
        initialize(self)

    def forward(self, picture: Tensor) -> Tensor:
        """[N, 3, H, W] -> a score for each patch [N, 1, H - 2 margin, W - 2 margin]."""
        return self.tail(self.blocks(picture))


def initialize(network: nn.Module) -> None:
    """Normal weights as DCGAN's; the biases of convolutions stay as PyTorch draws them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
