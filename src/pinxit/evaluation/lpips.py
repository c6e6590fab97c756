"""LPIPS: how far apart two pictures are to the eye, by features of a network that was trained to tell things apart.

Zhang et al. 2018 (The Unreasonable Effectiveness of Deep Features as a Perceptual Metric). A backbone trained on
ImageNet, in the form that torchvision publishes, and the authors' linear heads, which were fitted to people's
judgements. torchvision itself is not needed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.download import fetch
from pinxit.errors import unknown_name
from pinxit.evaluation.pictures import Pictures
from pinxit.evaluation.results import Score
from pinxit.evaluation.similarity import in_sizes, matched, size_text
from pinxit.official import fill, read_state

Backbone = Literal["alex", "vgg", "squeeze"]
"""AlexNet, VGG-16 and SqueezeNet 1.1, as the authors call them; `alex` is what most tables are measured with."""


class Release(NamedTuple):
    """What is published for a backbone: hashes are SHA-256 of whole files."""

    file: str
    """torchvision's weights (BSD 3-Clause)."""
    sha256: str
    heads: str
    """The authors' heads of version 0.1 (BSD 2-Clause), which every table since 2018 has used."""
    old_heads: str
    """Those of version 0.0, which were fitted to a backbone whose input was not scaled."""
    least: int
    """Shorter side, in pixels, that is left of at the deepest layer."""


RELEASES: dict[Backbone, Release] = {
    "alex": Release(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
        31,
    ),
    "vgg": Release(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
        16,
    ),
    "squeeze": Release(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        "c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf",
        17,
    ),
}

_BACKBONE_URL = "https://download.pytorch.org/models/"
_HEADS_URL = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/"
    "lpips/weights/v0.1/"
)

# What is compared: places among the layers, counted as torchvision does, whose output is taken, and its channels.
_TAPS: dict[Backbone, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
    "squeeze": {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512},
}

# ImageNet's mean and deviation, in units of -1..1 (0.485, 0.456, 0.406 and 0.229, 0.224, 0.225 in 0..1).
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """The distance, with random weights until `load_lpips` fills it.

    `scaled`: whether the input is brought to ImageNet's mean and deviation, which heads of version 0.0 go without.
    """

    def __init__(self, backbone: Backbone, *, scaled: bool = True) -> None:
        super().__init__()
        if backbone not in RELEASES:
            raise unknown_name("backbone of LPIPS", backbone, RELEASES)
        self.backbone: Backbone = backbone
        self.scaled = scaled
        self.weights: dict[str, str] = {}
        """What the weights are -> SHA-256 of their file; empty while they are random."""
        self.features = {"alex": _alexnet, "vgg": _vgg16, "squeeze": _squeezenet}[backbone]()
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in _TAPS[backbone].values())
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """[N, 3, H, W] in [-1, 1] -> the feature maps that are compared, shallow to deep."""
        x = (pictures - self.shift) / self.scale if self.scaled else pictures  # pyright: ignore[reportOperatorIssue]
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in _TAPS[self.backbone]:
                found.append(x)
        return found

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches [N, 3, H, W] in [-1, 1] -> [N], 0 for equal pictures (Zhang et al. 2018, eq. 1).

        Each pixel's features are brought to length 1; the squared differences, weighted by the head, are averaged over
        the pixels and summed over the layers.
        """
        total = a.new_zeros(len(a))
        for head, x, y in zip(self.heads, self.taps(a), self.taps(b), strict=True):
            total = total + head((_unit(x) - _unit(y)).square()).mean(dim=(1, 2, 3))
        return total


def load_lpips(backbone: Backbone, weights: Path, heads: Path) -> LPIPS:
    """The distance with torchvision's `weights` of the backbone (those of its classifier are passed over) and `heads`.

    The published heads of version 0.0 are known by their hash, and get an input that is not scaled, as they were made
    for; all others are taken for version 0.1.

    Raises:
        PinxitError: the backbone's name is unknown; a file is missing, damaged, or of another network.
    """
    if backbone not in RELEASES:
        raise unknown_name("backbone of LPIPS", backbone, RELEASES)
    release = RELEASES[backbone]
    state, linear = read_state(weights), read_state(heads)
    digests = {"backbone": _digest(weights), "heads": _digest(heads)}
    network = LPIPS(backbone, scaled=digests["heads"] != release.old_heads)
    fill(
        network.features,
        {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")},
        {name: f"features.{name}" for name in network.features.state_dict()},
        f"weights '{weights}'",
        f"the backbone '{backbone}' of LPIPS",
        advice=f"give torchvision's {release.file}",
    )
    fill(
        network.heads,
        linear,
        {f"{i}.weight": f"lin{i}.model.1.weight" for i in range(len(network.heads))},
        f"heads '{heads}'",
        f"the heads of LPIPS '{backbone}'",
        advice=f"give {backbone}.pth of lpips/weights/v0.1 of the authors' code",
    )
    network.weights = {f"LPIPS {backbone} {part}": digest for part, digest in digests.items()}
    return network


def download(backbone: Backbone) -> tuple[Path, Path]:
    """The published backbone and its heads of version 0.1, each fetched once: 5 (squeeze) to 553 MB (vgg).

    Raises:
        PinxitError: the backbone's name is unknown; there is no network; or what is sent is not what was published.
    """
    if backbone not in RELEASES:
        raise unknown_name("backbone of LPIPS", backbone, RELEASES)
    release = RELEASES[backbone]
    remedy = "download {} elsewhere and name its path"
    weights = fetch(_BACKBONE_URL + release.file, release.sha256, remedy.format(release.file))
    return weights, fetch(_HEADS_URL + f"{backbone}.pth", release.heads, remedy.format(f"{backbone}.pth"))


@torch.no_grad()
def lpips(generated: Pictures, real: Pictures, network: LPIPS) -> Score:
    """LPIPS, the mean over pairs of equal file names, at the pictures' own size. The spread is over pairs.

    Raises:
        PinxitError: a picture has no counterpart or another size than its own, or is too small for the network.
    """
    device = next(network.parameters()).device
    values, sizes = [], Counter[str]()
    for a, b in matched(generated, real, least=RELEASES[network.backbone].least):
        x, y = (picture[None].to(device, torch.float32) / 127.5 - 1 for picture in (a, b))
        values.append(float(network(x, y)))
        sizes[size_text(a)] += 1
    found = torch.tensor(values, dtype=torch.float64)
    protocol = (
        f"Zhang et al. 2018, {_named(network)}; RGB of -1..1 at its own size; mean over {in_sizes(sizes, 'pairs')}"
    )
    spread = float(found.std()) if len(found) > 1 else None
    details = {"pairs": len(values), "weights": network.weights}
    return Score("LPIPS", float(found.mean()), "lower", protocol, spread, details)


def _named(network: LPIPS) -> str:
    """What the weights are, as far as they are known."""
    if not network.weights:
        return f"{network.backbone} with RANDOM weights, which measures nothing that people see"
    backbone, heads = (network.weights[f"LPIPS {network.backbone} {part}"] for part in ("backbone", "heads"))
    release = RELEASES[network.backbone]
    known = {release.sha256: release.file, release.heads: "0.1", release.old_heads: "0.0 (input not scaled)"}
    whose = known.get(backbone, f"of unpublished weights {backbone[:16]}")
    return f"{network.backbone} {whose}, heads {known.get(heads, f'of unpublished weights {heads[:16]}')}"


def _unit(x: Tensor) -> Tensor:
    """Features of length 1 at each pixel. The epsilon is added to the length, not under the root."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)


def _alexnet() -> nn.Sequential:
    """Krizhevsky 2014, to the ReLU of its last convolution."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """Simonyan & Zisserman 2014, table 1, column D, to relu5_3."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1])


class _Fire(nn.Module):
    """Few channels, then many of 1x1 and of 3x3 beside each other (Iandola et al. 2016)."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def _squeezenet() -> nn.Sequential:
    """SqueezeNet 1.1, to its last fire module."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(64, 16, 64), _Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(128, 32, 128), _Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(_Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256)),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
