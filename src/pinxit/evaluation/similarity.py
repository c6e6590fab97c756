"""SSIM and PSNR: how alike two pictures are, value by value. They need no network, and pictures that belong together.

Both punish what people do not see, such as another leaf or a shift by a pixel, and forgive blur: for reconstructions,
not for samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.errors import expected
from pinxit.evaluation.pictures import Pictures, pairs
from pinxit.evaluation.results import Score

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
"""Of SSIM, as in its paper: side of the Gaussian window and its deviation in pixels, and the two constants."""


def ssim(generated: Pictures, real: Pictures) -> Score:
    """Structural similarity, the mean over pairs of equal file names (`structural_similarity`).

    The spread is over pairs.

    Raises:
        PinxitError: a picture has no counterpart or another size than its own, or is smaller than the window.
    """
    values, sizes = [], Counter[str]()
    for a, b in matched(generated, real, least=WINDOW):
        values.append(float(structural_similarity(a[None], b[None])))
        sizes[size_text(a)] += 1
    protocol = (
        f"Wang et al. 2004 on RGB of 0..255, mean over channels: Gaussian window {WINDOW}x{WINDOW} of deviation "
        f"{SIGMA}, wholly inside the picture; K1 {K1}, K2 {K2}; no reduction before; mean over "
        f"{in_sizes(sizes, 'pairs')}"
    )
    return Score("SSIM", _mean(values), "higher", protocol, _deviation(values), {"pairs": len(values)})


def psnr(generated: Pictures, real: Pictures) -> Score:
    """Peak signal-to-noise ratio in dB, of the mean squared error over all pairs of equal file names.

    Not the mean of the pairs' own ratios, which most code prints: one pair of equal pictures makes that infinite, and
    where such pairs are left out instead, a set does not get worse as more of it is spoilt. `details` have it all the
    same, over the pairs that differ (`mean_of_pairs`, None without any), and the number of `equal_pairs`. The score is
    infinite where all pairs are equal.

    Raises:
        PinxitError: a picture has no counterpart, or another size than its own.
    """
    values, errors, sizes = [], [], Counter[str]()
    for a, b in matched(generated, real):
        values.append(float(signal_to_noise(a[None], b[None])))
        errors.append(float((a.double() - b.double()).square().mean()))
        sizes[size_text(a)] += 1
    differing = [value for value in values if math.isfinite(value)]
    equal = len(values) - len(differing)
    protocol = (
        "10 log10(255^2 / MSE), the MSE over the pixels and channels of a pair, RGB of 0..255, and its mean over "
        f"{in_sizes(sizes, 'pairs')}, {equal} of them equal"
    )
    details = {
        "pairs": len(values),
        "equal_pairs": equal,
        "mean_of_pairs": _mean(differing) if differing else None,
    }
    value = 10 * math.log10(255**2 / _mean(errors)) if differing else math.inf
    return Score("PSNR", value, "higher", protocol, None, details)


def structural_similarity(a: Tensor, b: Tensor, *, data_range: float = 255) -> Tensor:
    """SSIM of pictures [N, C, H, W] of any type with values in a range as wide as `data_range`: float64 [N], -1..1.

    Wang et al. 2004, eq. 13, and the mean of it over windows (eq. 17) and channels: means, variances and covariance
    weighted by a Gaussian window, which lies wholly inside the picture. The paper measures luminance; over RGB, as
    most code of the field has it, a wrong tint is seen too.

    Raises:
        PinxitError: the shapes differ, or the pictures are smaller than the window.
    """
    _require_alike(a, b)
    if min(a.shape[2:]) < WINDOW:
        raise expected("size of the pictures", size_text(a), f"at least {WINDOW}x{WINDOW}", "take larger ones")
    x, y = a.double(), b.double()
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x * mean_x
    variance_y = _windowed(y * y) - mean_y * mean_y
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def signal_to_noise(a: Tensor, b: Tensor, *, data_range: float = 255) -> Tensor:
    """PSNR in dB of pictures [N, C, H, W] with values in a range as wide as `data_range`: float64 [N], inf for equal.

    Raises:
        PinxitError: the shapes differ.
    """
    _require_alike(a, b)
    error = (a.double() - b.double()).square().mean(dim=(1, 2, 3))
    return 10 * (data_range**2 / error).log10()


def matched(generated: Pictures, real: Pictures, *, least: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """The two pictures of each pair of equal file names, uint8 [3, H, W], one pair at a time.

    Raises:
        PinxitError: a picture has no counterpart, or another size than its own, or a side below `least`. All sizes are
            looked at before the first pair is given.
    """
    places = pairs(generated, real)
    sizes, real_sizes = generated.sizes(), real.sizes()
    for i, j in places:
        name, (height, width) = generated.files[i].name, sizes[i]
        if sizes[i] != real_sizes[j]:
            want = f"{real_sizes[j][1]}x{real_sizes[j][0]} (width x height) as in {real.name}"
            raise expected(f"size of '{name}' in {generated.name}", f"{width}x{height}", want, "give --size for both")
        if min(height, width) < least:
            want = f"at least {least}x{least}"
            raise expected(f"size of '{name}' in {generated.name}", f"{width}x{height}", want, "take larger pictures")
    for i, j in places:
        yield generated[i], real[j]


def size_text(picture: Tensor) -> str:
    """`width x height` of [..., H, W]."""
    return f"{picture.shape[-1]}x{picture.shape[-2]}"


def in_sizes(sizes: Counter[str], things: str) -> str:
    """How many `things` of which size, for a protocol: `12 pairs of 256x256`."""
    if len(sizes) == 1:
        return f"{sizes.total()} {things} of {next(iter(sizes))}"
    each = (
        ", ".join(f"{count} of {size}" for size, count in sizes.items()) if len(sizes) <= 3 else f"{len(sizes)} sizes"
    )
    return f"{sizes.total()} {things} ({each})"


def _windowed(x: Tensor) -> Tensor:
    """The Gaussian mean around each pixel whose window is inside: [N, C, H, W] to [N, C, H - 10, W - 10]."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, WINDOW)
    return F.conv2d(F.conv2d(x, line, groups=x.shape[1]), line.mT, groups=x.shape[1])


def _require_alike(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim != 4 or not a.numel():
        got = f"{list(a.shape)} and {list(b.shape)}"
        raise expected("shape of the pictures to compare", got, "the same [N, C, H, W], not empty", "resize one")


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: list[float]) -> float | None:
    """Over pairs, divided by one less than their number; None where there are not two."""
    return float(torch.tensor(values, dtype=torch.float64).std()) if len(values) > 1 else None
