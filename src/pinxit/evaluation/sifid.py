"""SIFID: the Fréchet distance between what one generated and one real picture show, pixel by pixel.

Rott Shaham et al. 2019 (SinGAN), sec. 3.1: FID between the features of the pixels of one picture and those of another,
not between the pooled ones of many pictures. Two things move the number and are seldom told:

- The layer. The paper says the features are from just before the second pooling; its code was released with those of
  before the first (64 channels), and later set to the second (192). Both are measured here.
- The weights. The code takes torchvision's ImageNet classifier (`inception_v3_google-1a9a5a14.pth`, or its later copy
  `-0cc3c7bd.pth`), not the network of FID. `load_stem` reads either: up to there both networks compute the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.download import fetch
from pinxit.errors import expected
from pinxit.evaluation.distances import frechet_distance, gaussian
from pinxit.evaluation.inception import SHA256, URL, Inception
from pinxit.evaluation.pictures import Pictures, pairs
from pinxit.evaluation.results import Score
from pinxit.evaluation.similarity import in_sizes, size_text
from pinxit.official import fill, read_state

Layer = Literal[64, 192]
"""Channels of the features of just before the first and of just before the second max pooling."""

LEAST = 23
"""Shorter side in pixels: of a square that small the deeper layer has two pixels each way, and so a covariance."""

_TORCHVISION = ("1a9a5a14", "0cc3c7bd")
"""Beginnings of the SHA-256 of torchvision's two files, which their names carry."""


class Stem(nn.Module):
    """The convolutions of an Inception network before its second pooling, without a gradient into their weights.

    `whole`: the network to take them from (shared, not copied); None: random ones, as `load_stem` fills.
    `digest`: SHA-256 of the file that the weights are from; None: of none.
    """

    def __init__(self, whole: Inception | None = None) -> None:
        super().__init__()
        whole = whole or Inception()
        self.digest = whole.digest
        self.Conv2d_1a_3x3 = whole.Conv2d_1a_3x3
        self.Conv2d_2a_3x3 = whole.Conv2d_2a_3x3
        self.Conv2d_2b_3x3 = whole.Conv2d_2b_3x3
        self.Conv2d_3b_1x1 = whole.Conv2d_3b_1x1
        self.Conv2d_4a_3x3 = whole.Conv2d_4a_3x3
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> dict[Layer, Tensor]:
        """x [N, 3, H, W] in [-1, 1] -> the maps [N, 64, h, w] and [N, 192, h', w'] before the two poolings."""
        first = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        return {64: first, 192: self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(first, 3, stride=2)))}


def load_stem(path: Path | None = None) -> Stem:
    """The stem of FID's `pt_inception-2015-12-05-6726825d.pth` or of torchvision's `inception_v3_google-*.pth`.

    `path`: None for FID's, from the cache or downloaded. What the file has of deeper layers is passed over.

    Raises:
        PinxitError: the file is missing, damaged or of another network; or there is none and no network connection.
    """
    if path is None:
        path = fetch(URL, SHA256, "download it elsewhere and name its path")
    stem = Stem()
    names = {name: name for name in stem.state_dict()}
    state = {name: tensor for name, tensor in read_state(path).items() if name.startswith(_prefixes(stem))}
    advice = "give FID's pt_inception-2015-12-05-6726825d.pth or torchvision's inception_v3_google-0cc3c7bd.pth"
    fill(stem, state, names, f"Inception weights '{path}'", "an Inception v3", advice=advice, old_norms=False)
    with path.open("rb") as f:
        stem.digest = hashlib.file_digest(f, "sha256").hexdigest()
    return stem


@torch.no_grad()
def sifid(generated: Pictures, real: Pictures, stem: Stem) -> list[Score]:
    """SIFID at both layers, 64 and 192: means over pairs of equal file names, or over all pictures and one real photo.

    Pictures are taken at their own size, and those of a pair may differ in it. The spread is over pairs. The covariance
    of a picture of few pixels is as good as singular, and its SIFID then large: values compare at one size only.

    Raises:
        PinxitError: a picture has no counterpart, though there is more than one real photo; or is below 23x23.
    """
    for pictures in (generated, real):
        for file, (height, width) in zip(pictures.files, pictures.sizes(), strict=True):
            if min(height, width) < LEAST:
                thing = f"size of '{file.name}' in {pictures.name}"
                raise expected(thing, f"{width}x{height}", f"at least {LEAST}x{LEAST}", "take larger pictures")
    places = [(i, 0) for i in range(len(generated))] if len(real) == 1 else pairs(generated, real)
    values: dict[Layer, list[float]] = {layer: [] for layer in get_args(Layer)}
    sizes = Counter[str]()
    photo, whose = pixel_features(real[places[0][1]], stem), places[0][1]
    for i, j in places:
        if j != whose:
            photo, whose = pixel_features(real[j], stem), j
        picture = generated[i]
        ours = pixel_features(picture, stem)
        for layer, found in values.items():
            found.append(frechet_distance(gaussian(ours[layer]), gaussian(photo[layer])))
        sizes[size_text(picture)] += 1
    how = "each with the one real photo" if len(real) == 1 else "each with the real one of its name"
    weights = {"weights": {"SIFID Inception": stem.digest}} if stem.digest else {}
    scores = []
    for (layer, of_pairs), where in zip(values.items(), ("first", "second"), strict=True):
        found = torch.tensor(of_pairs, dtype=torch.float64)
        protocol = (
            f"Rott Shaham et al. 2019: features of each pixel before the {where} max pooling ({layer} channels) of "
            f"{_named(stem)}; at the picture's own size, 2x/255 - 1; covariances over N - 1, in float64; mean over "
            f"{in_sizes(sizes, 'pictures')}, {how}"
        )
        spread = float(found.std()) if len(found) > 1 else None
        scores.append(Score(f"SIFID ({layer})", float(found.mean()), "lower", protocol, spread, weights))
    return scores


def pixel_features(picture: Tensor, stem: Stem) -> dict[Layer, Tensor]:
    """A picture uint8 [3, H, W] -> features of its pixels on the CPU, [h w, 64] and [h' w', 192]."""
    maps = stem(picture[None].to(stem.Conv2d_1a_3x3.conv.weight.device, torch.float32) * (2 / 255) - 1)
    return {layer: x[0].flatten(1).T.cpu() for layer, x in maps.items()}


def _named(stem: Stem) -> str:
    if stem.digest is None:
        return "an Inception v3 with RANDOM weights, which measures nothing that people see"
    if stem.digest == SHA256:
        return "FID's inception-2015-12-05 (SinGAN's own figures are of torchvision's)"
    if stem.digest.startswith(_TORCHVISION):
        return "torchvision's inception_v3_google, as in SinGAN's code"
    return f"an Inception v3 of unpublished weights (SHA-256 {stem.digest[:16]})"


def _prefixes(stem: Stem) -> tuple[str, ...]:
    return tuple(f"{name}." for name, _ in stem.named_children())
