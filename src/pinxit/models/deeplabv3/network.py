"""DeepLabV3: a ResNet whose last stages widen their kernels instead of halving the picture, and a pyramid of such
kernels on top (Chen et al. 2017).

Names of weights are those of torchvision's published state dicts (`backbone.layer1.0.conv1.weight`,
`classifier.0.convs.1.0.weight` …), so that these read as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.deeplabv3.config import Depth, Network
from pinxit.nn.norm import BatchNorm2d

BLOCKS: dict[Depth, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Blocks of the four stages (He et al. 2016, table 1)."""

# The mean and standard deviation of ImageNet's colours, 0..1, which published ResNets are fed by.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class DeepLabV3(nn.Module):
    """Scores of each label at each pixel of a photo (Chen et al. 2017, fig. 5).

    `auxiliary`: with a second, small head on the third stage, which training may add to its loss.
    """

    def __init__(self, network: Network, auxiliary: bool = False) -> None:
        super().__init__()
        self.backbone = ResNet(network.depth, network.width, network.output_stride)
        channels = self.backbone.channels
        self.classifier = Head(channels[3], channels[0], network)
        self.aux_classifier = AuxiliaryHead(channels[2], network.labels) if auxiliary else None

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor | None]:
        """Photos [N, 3, H, W] in [-1, 1] -> scores [N, labels, h, w], some times smaller, and those of the second
        head, where there is one."""
        features = self.backbone(photo)
        second = None if self.aux_classifier is None else self.aux_classifier(features[2])
        return self.classifier(features[0], features[3]), second


class ResNet(nn.Module):
    """A ResNet without its classifier (He et al. 2016); 50 and 101 with the stride in the 3x3 convolution, as
    torchvision's.

    `width`: channels of the first stage's convolutions, 64 in the paper.
    `output_stride`: how much smaller than the photo the last features are. Beyond it, stages keep their size and
    double the dilation of their kernels (Chen et al. 2017, sec. 3.1); the first block of such a stage has that of the
    stage before, as torchvision's.
    """

    def __init__(self, depth: Depth, width: int, output_stride: int) -> None:
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(width, affine=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels: list[int] = []
        """Channels of what each stage gives."""
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)
        channels, reached, dilation = width, 4, 1
        for number, blocks in enumerate(BLOCKS[depth]):
            stride, first = (1 if number == 0 else 2), dilation
            if reached * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reached *= stride
            layers = []
            for place in range(blocks):
                layers.append(
                    block(channels, width << number, stride, first)
                    if place == 0
                    else block(channels, width << number, 1, dilation)
                )
                channels = (width << number) * block.expansion
            self.add_module(f"layer{number + 1}", nn.Sequential(*layers))
            self.channels.append(channels)

    mean: Tensor
    deviation: Tensor

    def forward(self, photo: Tensor) -> list[Tensor]:
        """Photos [N, 3, H, W] in [-1, 1] -> what each of the four stages gives."""
        x = (photo * 0.5 + 0.5 - self.mean) / self.deviation
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        features = []
        for number in range(4):
            x = self.get_submodule(f"layer{number + 1}")(x)
            features.append(x)
        return features


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al. 2016, fig. 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride, dilation)
        self.bn1 = BatchNorm2d(width, affine=True)
        self.conv2 = _conv3x3(width, width, 1, dilation)
        self.bn2 = BatchNorm2d(width, affine=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside the identity (He et al. 2016, fig. 5 right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width, affine=True)
        self.conv2 = _conv3x3(width, width, stride, dilation)
        self.bn2 = BatchNorm2d(width, affine=True)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * width, affine=True)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Head(nn.Sequential):
    """The pyramid, a 3x3 convolution and the scores; the numbers of its parts are torchvision's.

    With `detail` channels the pyramid's features are enlarged to the size of the first stage's, which join them before
    the 3x3 convolution: what DeepLabV3+ adds (Chen et al. 2018, fig. 2), of whose two such convolutions this is one.
    """

    def __init__(self, inputs: int, inputs_of_detail: int, network: Network) -> None:
        channels = network.pyramid
        super().__init__(
            Pyramid(inputs, channels, network.rates),
            nn.Conv2d(channels + network.detail, channels, 3, padding=1, bias=False),
            BatchNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.Conv2d(channels, network.labels, 1),
        )
        self.detail = _conv_norm_relu(inputs_of_detail, network.detail) if network.detail else None

    def forward(self, detail: Tensor, features: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The first and the last stage's features -> scores."""
        pyramid, conv, norm, relu, scores = (self[i] for i in range(5))
        x = pyramid(features)
        if self.detail is not None:
            x = F.interpolate(x, size=detail.shape[2:], mode="bilinear", align_corners=False)
            x = torch.cat([x, self.detail(detail)], dim=1)
        return scores(relu(norm(conv(x))))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: kernels of several dilations and the mean of the picture, side by side (Chen et
    al. 2017, sec. 3.3)."""

    def __init__(self, inputs: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        atrous = [_conv_norm_relu(inputs, channels, 3, rate) for rate in rates]
        mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(inputs, channels))
        self.convs = nn.ModuleList([_conv_norm_relu(inputs, channels), *atrous, mean])
        self.project = _conv_norm_relu((len(rates) + 2) * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, channels, h, w]."""
        *local, mean = (conv(x) for conv in self.convs)
        return self.project(torch.cat([*local, mean.expand(-1, -1, *x.shape[2:])], dim=1))


class AuxiliaryHead(nn.Sequential):
    """Scores from the third stage's features; the numbers of its parts are torchvision's, whose dropout is not here."""

    def __init__(self, inputs: int, labels: int) -> None:
        channels = max(1, inputs // 4)
        super().__init__(
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
            BatchNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(channels, labels, 1),
        )


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), BatchNorm2d(outputs, affine=True))


def _conv_norm_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        BatchNorm2d(outputs, affine=True),
        nn.ReLU(),
    )
