"""The perceptual distance on VGG-19 (Johnson et al. 2016; as in pix2pixHD and SPADE)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.errors import expected

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
SHA256 = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
"""The published ImageNet weights (BSD 3-Clause, 575 MB); their file name carries the first digits of their hash."""

# Convolutions of VGG-19 (Simonyan & Zisserman 2014, table 1, column E) up to conv5_1; "M" halves the resolution. A
# convolution's number in the published weights is its place among all layers, ReLU and pooling counted.
_LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512)
_TAPS = {0, 2, 4, 8, 12}
"""The first convolution of each of the five blocks, counted among convolutions; its ReLU is compared."""
_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class PerceptualDistance(nn.Module):
    """Weighted L1 between ReLU features of VGG-19: relu1_1 ... relu5_1, weights 1/32, 1/16, 1/8, 1/4, 1.

    Pictures go in as they are, in [-1, 1], without ImageNet's mean and deviation, as in the official code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict()
        place, inputs = 0, 3
        for layer in _LAYERS:
            if layer == "M":
                place += 1
            else:
                self.convolutions[str(place)] = nn.Conv2d(inputs, int(layer), 3, padding=1)
                place, inputs = place + 2, int(layer)
        self.requires_grad_(False)

    def features(self, picture: Tensor) -> list[Tensor]:
        """[N, 3, H, W] -> five feature maps, of 1, 1/2, 1/4, 1/8, 1/16 of the size."""
        x, taps, previous = picture, [], -2
        for i, (place, convolution) in enumerate(self.convolutions.items()):
            if int(place) != previous + 2:
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x))
            previous = int(place)
            if i in _TAPS:
                taps.append(x)
        return taps

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches [N, 3, H, W] in [-1, 1] -> a scalar; no gradient flows into `real`."""
        with torch.no_grad():
            reals = self.features(real)
        pairs = zip(_WEIGHTS, self.features(fake), reals, strict=True)
        return torch.stack([weight * F.l1_loss(f.float(), r.float()) for weight, f, r in pairs]).sum()


def load_perceptual(path: Path) -> PerceptualDistance:
    """The distance with the weights of a `vgg19-*.pth` (torchvision's names; the classifier's are passed over).

    Raises `PinxitError` where the file is missing, damaged or of another network.
    """
    if not path.is_file():
        raise expected(
            f"VGG-19 weights '{path}'", "not there", "vgg19-dcbb9e9d.pth", "mend --vgg or use --no-perceptual"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        distance = PerceptualDistance()
        wanted = {f"convolutions.{n}.{leaf}" for n in distance.convolutions for leaf in ("weight", "bias")}
        found = {"convolutions." + k.removeprefix("features."): v for k, v in state.items()}
        distance.load_state_dict({k: v for k, v in found.items() if k in wanted})
    except Exception as error:  # a damaged file makes torch raise anything, IndexError and AssertionError included
        raise expected(
            f"VGG-19 weights '{path}'", "damaged or of another network", "vgg19-dcbb9e9d.pth", "download it again"
        ) from error
    return distance.eval()
