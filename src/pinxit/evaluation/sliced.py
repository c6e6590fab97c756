"""Sliced Wasserstein distance of two sets of pictures, by their patches. It needs no pretrained network.

For samples of a single photo `pinxit.evaluation.patches.sliced_wasserstein` has what one photo needs in place of a set.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.errors import expected
from pinxit.evaluation.patches import COARSEST, cut, laplacian_pyramid, normalised, wasserstein_1d
from pinxit.evaluation.pictures import Pictures
from pinxit.evaluation.results import Score

PATCH, PER_PICTURE, REPEATS, DIRECTIONS = 7, 128, 4, 128
"""Side of a patch, patches of each picture and level, and how many times how many directions are projected on."""

# Directions at once: two million descriptors (16384 pictures) along each are 130 MB a side.
_BLOCK = 16


@torch.no_grad()
def sliced_wasserstein(
    generated: Pictures, real: Pictures, *, seed: int = 0, device: str | torch.device = "cpu"
) -> Score:
    """Karras et al. 2018 (Progressive Growing of GANs), sec. 5: the mean over levels, times 1000.

    `details` has the distance of each level of the Laplacian pyramid under its resolution, as the paper's tables have:
    the coarse ones tell of structure, the fine ones of texture. A level's patches are normalised by channel, each set's
    by its own mean and deviation, so that brightness, contrast and tint are not seen.

    Both sets' patches are drawn at random, independently, and the same for every call with this `seed` and sets of this
    length. Equal sets hence do not score 0 but what chance leaves, about in inverse proportion to the square root of
    the number of pictures: values are to be compared at one number (the paper's is 16384).

    Departures: pictures of any one size, sides halved rounding up, levels named by powers of two that are those of the
    paper where the shorter side is one; sets of unlike lengths by the exact distance of their empirical distributions;
    a channel whose deviation is below 1/2000 of the range is divided by that.

    75 kB are held for each picture and level.

    Raises:
        PinxitError: the pictures of the two sets are not all of one size, or have a side below 16 pixels.
    """
    size = generated.one_size()
    if real.one_size() != size:
        got, want = (f"{width}x{height}" for height, width in (size, real.one_size()))
        thing = f"size of the pictures in {generated.name}"
        raise expected(thing, got, f"{want} (width x height) as in {real.name}", "give --size for both")
    if min(size) < COARSEST:
        want = f"at least {COARSEST}x{COARSEST}"
        raise expected(f"size of the pictures in {real.name}", f"{size[1]}x{size[0]}", want, "take larger ones")

    levels = level_distances(
        descriptors(generated, size, 2 * seed, device), descriptors(real, size, 2 * seed + 1, device), seed
    )
    protocol = (
        f"Karras et al. 2018: Laplacian pyramid, {PER_PICTURE} patches of {PATCH}x{PATCH} of each picture and level, "
        f"normalised by channel, {REPEATS} times {DIRECTIONS} directions; times 1000, mean over levels "
        f"{', '.join(map(str, levels))}; {len(generated)} pictures of {size[1]}x{size[0]} against {len(real)}; "
        f"seed {seed}"
    )
    details = {"levels": {str(resolution): value for resolution, value in levels.items()}}
    return Score("SWD", sum(levels.values()) / len(levels), "lower", protocol, None, details)


def descriptors(
    pictures: Pictures, size: tuple[int, int], seed: int, device: str | torch.device = "cpu"
) -> dict[int, Tensor]:
    """Patches of pictures of one `size` (height, width): level's resolution, fine to coarse, -> [N x 128, 3, 7, 7].

    The finest level has the largest power of two that the shorter side holds for its name, the coarsest has 16.
    """
    random = torch.Generator().manual_seed(seed)
    halvings = (min(size) // COARSEST).bit_length() - 1
    drawn: dict[int, list[Tensor]] = {COARSEST << (halvings - level): [] for level in range(halvings + 1)}
    for picture in pictures:
        pyramid = laplacian_pyramid(picture[None].to(device, torch.float32) / 127.5 - 1, halvings)
        for level, patches in zip(pyramid, drawn.values(), strict=True):
            count = (level.shape[2] - PATCH + 1) * (level.shape[3] - PATCH + 1)
            patches.append(cut(level, PATCH, torch.randint(count, (PER_PICTURE,), generator=random)))
    return {resolution: torch.cat(patches) for resolution, patches in drawn.items()}


def level_distances(generated: dict[int, Tensor], real: dict[int, Tensor], seed: int = 0) -> dict[int, float]:
    """The distance times 1000 between what `descriptors` gives of two sets, level by level, coarse to fine."""
    random = torch.Generator().manual_seed(seed)
    distances = {}
    for resolution in sorted(real):
        x, y = normalised(real[resolution]), normalised(generated[resolution])
        units = F.normalize(torch.randn(REPEATS * DIRECTIONS, x.shape[1], generator=random), dim=1).to(x.device)
        found = [wasserstein_1d(some @ x.T, some @ y.T) for some in units.split(_BLOCK)]
        distances[resolution] = 1000 * float(torch.cat(found).mean())
    return distances
