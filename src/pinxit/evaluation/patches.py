"""Measures of a generator that learnt from one photo, by its patches. No pretrained network is needed.

`samples` are the generator's pictures, float [N, 3, H, W], and `photo` is what it was trained on, float [3, H, W] or
[1, 3, H, W], both in [-1, 1] (`pinxit.data.images.to_tensor`). Values beyond are taken as they are. Where not said
otherwise the two may differ in size. What is random is drawn from `seed` alone, and the same for pictures of one size:
two generators are compared on the same patches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.errors import expected

COARSEST = 16
"""Shorter side, in pixels, below which the Laplacian pyramid is not halved any more (Karras et al. 2018, sec. 5)."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey intensity (ITU-R BT.601)."""

# An eighth of a step of 8-bit grey: a level that varies less is constant, and dividing by its own spread would make
# a structure of rounding errors.
_LEAST_SPREAD = 1e-3

# Queries times targets of one block of distances: 32 MB in fp32.
_QUERIES, _TARGETS = 1024, 8192


class BidirectionalSimilarity(NamedTuple):
    """Both directions of Simakov et al. 2008, one value per scale, coarse to fine (0: every patch has its equal)."""

    coherence: tuple[float, ...]
    completeness: tuple[float, ...]


@torch.no_grad()
def sliced_wasserstein(
    samples: Tensor,
    photo: Tensor,
    *,
    patch: int = 7,
    patches: int = 16384,
    repeats: int = 4,
    directions: int = 128,
    seed: int = 0,
) -> dict[int, float]:
    """Sliced Wasserstein distance of the samples' patches to the photo's, at each level of a Laplacian pyramid.

    After Karras et al. 2018 (Progressive Growing of GANs), sec. 5: each level's patches of `patch` x `patch` pixels are
    normalised to mean 0 and standard deviation 1 per channel, samples and photo by their own statistics, and compared
    along `repeats` times `directions` random directions. Coarse levels tell of structure, fine ones of texture and
    noise. Being normalised, a level does not see that its brightness, contrast or tint is off as a whole;
    `coherence_completeness` does.

    The samples are one set of patches: if each shows another part of the photo, together they may score 0.

    Departures, since there is one photo and its sides are no powers of two:

    - Up to `patches` patches per level stand for each side, in place of 128 of each of 16384 pictures. Positions are
      drawn without replacement and dealt out evenly among the samples, those of the photo being the same, so that
      copies of the photo score 0 exactly. Few patches have a floor above 0 for any other picture, hence values are to
      be compared with one another (one photo, one N), never with the paper's.
    - Sets of unlike size are compared by the exact distance of their empirical distributions.
    - The number of levels is the photo's, and sides are halved rounding up.
    - A level's channel with a standard deviation below 0.001 is divided by 0.001.

    Returns:
        Resolution to distance times 1000 (the paper's unit), coarse to fine. The resolution is nominal, so that names
        are the same for photos of about one size: the largest power of two that the photo's shorter side holds, and its
        halves down to 16, where the pyramid ends with what is left of the picture. A photo of 250x188 has 16, 32, 64
        and 128, the last of which is the photo's own size.

    Raises:
        PinxitError: a picture has not the shape, type or values said above; the photo's shorter side is below 16; a
            picture at the coarsest level is smaller than a patch; or a number is below 1.
    """
    samples, photo = _checked(samples, photo)
    _require_positive(patch=patch, patches=patches, repeats=repeats, directions=directions)
    short = min(photo.shape[2:])
    if short < COARSEST:
        raise expected("size of the photo", _size(photo), f"at least {COARSEST}x{COARSEST}", "take a larger one")
    halvings = (short // COARSEST).bit_length() - 1
    # What is still of `least` pixels after so many halvings, each rounding up; of 2 for the mirrored edges' sake.
    least = ((max(patch, 2) - 1) << halvings) + 1
    _require_size(samples, photo, least)

    random = torch.Generator().manual_seed(seed)
    distances: dict[int, float] = {}
    fakes, reals = laplacian_pyramid(samples, halvings), laplacian_pyramid(photo, halvings)
    for level in reversed(range(halvings + 1)):
        x = normalised(_dealt_patches(reals[level], patch, patches, seed))
        y = normalised(_dealt_patches(fakes[level], patch, patches, seed))
        total = 0.0
        for _ in range(repeats):
            unit = F.normalize(torch.randn(directions, x.shape[1], generator=random), dim=1).to(x.device)
            total += float(wasserstein_1d(unit @ x.T, unit @ y.T).mean())
        distances[COARSEST << (halvings - level)] = 1000 * total / repeats
    return distances


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """Wasserstein-1 distance of the values in each row of `a` [K, n] to those in `b` [K, m], exact for any n, m: [K].

    The area between the two empirical quantile functions. Both are constant between neighbours of the points i / n and
    j / m.
    """
    n, m = a.shape[1], b.shape[1]
    points = torch.cat([torch.arange(n + 1) * m, torch.arange(m) * n]).unique()  # times n m, to be whole numbers
    widths = points.diff().to(a.device, a.dtype) / (n * m)
    a = a.sort(dim=1).values[:, (points[:-1] // m).to(a.device)]
    b = b.sort(dim=1).values[:, (points[:-1] // n).to(b.device)]
    return (a - b).abs() @ widths


@torch.no_grad()
def coherence_completeness(
    samples: Tensor, photo: Tensor, *, patch: int = 7, levels: int = 3, queries: int | None = 1024, seed: int = 0
) -> BidirectionalSimilarity:
    """Whether what the samples show is in the photo (coherence), and the other way round (completeness).

    The two terms of Simakov et al. 2008, eq. 1, apart: coherence is the mean over a sample's patches of the squared
    difference to the nearest patch of the photo; completeness the mean over the photo's patches of that to the nearest
    patch of the sample. Each is the mean over the samples. A generator that invents or smears has a bad coherence, one
    that leaves things out a bad completeness.

    Departures: differences are of RGB, not of L*a*b*, and per value, not summed over a patch: 0..4, where 4 is black
    against white. The scales (1/1, 1/2, 1/4, .. by antialiased bicubic reduction; at most `levels`, fewer where a
    picture would be smaller than a patch) are told apart, not summed.

    Args:
        queries: how many patches of each picture and scale, at random positions, look for their nearest one; None for
            all, which takes half a minute for a sample of 250x188. They always look among all patches of the other
            picture. The mean of 1024 is that of all to some percent.

    Raises:
        PinxitError: a picture has not the shape, type or values said above, or is smaller than a patch; or a number is
            below 1.
    """
    samples, photo = _checked(samples, photo)
    _require_positive(patch=patch, levels=levels, queries=1 if queries is None else queries)
    _require_size(samples, photo, patch)

    coherence, completeness = [], []
    for level in reversed(range(levels)):
        fakes, real = reduced(samples, 1 << level), reduced(photo, 1 << level)
        if min(*fakes.shape[2:], *real.shape[2:]) < patch:
            continue
        pairs = [(fake[None], real) for fake in fakes]
        coherence.append(sum(_to_nearest(fake, real, patch, queries, seed) for fake, real in pairs) / len(pairs))
        completeness.append(sum(_to_nearest(real, fake, patch, queries, seed) for fake, real in pairs) / len(pairs))
    return BidirectionalSimilarity(tuple(coherence), tuple(completeness))


@torch.no_grad()
def diversity(samples: Tensor, photo: Tensor) -> float:
    """How much samples differ from each other: 0 if they are all one picture, 1 if a pixel varies as the photo does.

    Rott Shaham et al. 2019 (SinGAN), sec. 3: "the standard deviation (std) of the intensity values of each pixel over
    100 generated images, averaged it over all pixels, and normalized by the std of the intensity values of the training
    image". What intensity is the paper leaves open: here the luma of BT.601. Both deviations are divided by the number
    of values (not by one less), so that few samples read low.

    Raises:
        PinxitError: a picture has not the shape, type or values said above; there is one sample only; or the photo is
            of one grey.
    """
    samples, photo = _checked(samples, photo)
    if len(samples) < 2:
        raise expected("number of samples", 1, "at least 2, for their spread", "generate more")
    spread = float(_grey(photo).std(correction=0))
    if spread < _LEAST_SPREAD:
        raise expected("photo", "of one grey", "a picture of several", "take another: its spread is the unit")
    return float(_grey(samples).std(dim=0, correction=0).mean()) / spread


@torch.no_grad()
def rmse(a: Tensor, b: Tensor) -> float:
    """Root of the mean squared difference of two tensors of one shape: 0..2 for pictures in [-1, 1].

    For how well a photo is reconstructed. The peak signal-to-noise ratio in dB is 20 log10(2 / rmse).

    Raises:
        PinxitError: the shapes differ, or there are no values.
    """
    if a.shape != b.shape or not a.numel():
        got = f"{list(a.shape)} and {list(b.shape)}"
        raise expected("shape of the pictures to compare", got, "the same one, not empty", "resize one of them")
    return float((a.float() - b.float()).square().mean().sqrt())


def scores(samples: Tensor, photo: Tensor, *, seed: int = 0) -> dict[str, float]:
    """All measures of this module that need no reconstruction, under the names that tables have them by.

    `swd_16`, `swd_32`, .. (`sliced_wasserstein`, as many as the photo has levels), `coherence` and `completeness` (the
    mean over the scales of `coherence_completeness`), `diversity`. All but the last are better when lower.

    Raises:
        PinxitError: as the functions named.
    """
    spread = diversity(samples, photo)  # first, since it is quick and refuses most
    table = {f"swd_{size}": value for size, value in sliced_wasserstein(samples, photo, seed=seed).items()}
    for name, values in coherence_completeness(samples, photo, seed=seed)._asdict().items():
        table[name] = sum(values) / len(values)
    table["diversity"] = spread
    return table


def _checked(samples: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 [N, 3, H, W] on the samples' device."""
    if photo.shape[:-2] not in ((3,), (1, 3)) or not photo.numel():
        got = list(photo.shape)
        raise expected("shape of the photo", got, "[3, H, W] or [1, 3, H, W]", "give one RGB picture")
    if samples.ndim != 4 or samples.shape[1] != 3 or 0 in samples.shape[2:]:
        raise expected("shape of the samples", list(samples.shape), "[N, 3, H, W]", "stack RGB pictures")
    if not len(samples):
        raise expected("number of samples", 0, "at least 1", "generate some")
    for thing, pictures in (("samples", samples), ("photo", photo)):
        if not pictures.is_floating_point():
            raise expected(f"type of the {thing}", pictures.dtype, "a float in -1..1", "see data.images.to_tensor")
        if not pictures.isfinite().all():
            raise expected(thing, "not finite (inf or nan)", "values in -1..1", "check whether training diverged")
    return samples.float(), photo.reshape(1, 3, *photo.shape[-2:]).to(samples.device, torch.float32)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise expected(name, number, "at least 1", "give a larger number")


def _require_size(samples: Tensor, photo: Tensor, least: int) -> None:
    for thing, pictures in (("samples", samples), ("photo", photo)):
        if min(pictures.shape[2:]) < least:
            remedy = "take larger pictures or smaller patches"
            raise expected(f"size of the {thing}", _size(pictures), f"at least {least}x{least}", remedy)


def _size(pictures: Tensor) -> str:
    return f"{pictures.shape[3]}x{pictures.shape[2]}"


def _grey(pictures: Tensor) -> Tensor:
    """[N, 3, H, W] to [N, H, W]."""
    return (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(1)


def reduced(pictures: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return pictures
    size = [max(1, round(side / factor)) for side in pictures.shape[2:]]
    return F.interpolate(pictures, size, mode="bicubic", antialias=True)


def laplacian_pyramid(pictures: Tensor, halvings: int) -> list[Tensor]:
    """Burt and Adelson 1983, fine to coarse: what each halving loses, and last what is left."""
    pyramid = []
    for _ in range(halvings):
        half = _binomial(pictures)[:, :, ::2, ::2]
        spaced = torch.zeros_like(pictures)
        spaced[:, :, ::2, ::2] = 4 * half
        pyramid.append(pictures - _binomial(spaced))
        pictures = half
    return [*pyramid, pictures]


def _binomial(pictures: Tensor) -> Tensor:
    """Smoothed by (1, 4, 6, 4, 1) / 16 each way, mirrored at the edges (where spaced zeros so go on being spaced)."""
    line = pictures.new_tensor([1, 4, 6, 4, 1]) / 16
    channels = pictures.shape[1]
    padded = F.pad(pictures, (2, 2, 2, 2), mode="reflect")
    across = F.conv2d(padded, line.expand(channels, 1, 1, 5), groups=channels)
    return F.conv2d(across, line[:, None].expand(channels, 1, 5, 1), groups=channels)


def _positions(count: int, most: int | None, seed: int) -> Tensor:
    """Up to `most` of `count` positions, in random order."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most]


def cut(pictures: Tensor, patch: int, where: Tensor) -> Tensor:
    """The patches [K, 3, patch, patch] at `where` [K], counted over all pictures, rows and columns."""
    windows = pictures.unfold(2, patch, 1).unfold(3, patch, 1)  # a view: all patches would fill the memory
    height, width = windows.shape[2:4]
    where = where.to(pictures.device)
    return windows[where // (height * width), :, where // width % height, where % width]


def _count(pictures: Tensor, patch: int) -> int:
    """How many patches a picture has."""
    return (pictures.shape[2] - patch + 1) * (pictures.shape[3] - patch + 1)


def _dealt_patches(pictures: Tensor, patch: int, most: int, seed: int) -> Tensor:
    """Up to `most` patches of N pictures. Every position drawn is taken from equally many of them, by turns.

    Copies of one picture so give the set that it gives alone.
    """
    number, count = len(pictures), _count(pictures, patch)
    where = _positions(count, most, seed)
    each = min(number, max(1, most // len(where)))
    turn = torch.arange(len(where))[:, None] + torch.arange(each)
    return cut(pictures, patch, ((turn % number) * count + where[:, None]).flatten())


def normalised(patches: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 per channel over all patches [K, C, h, w]; [K, C h w]."""
    std, mean = torch.std_mean(patches, dim=(0, 2, 3), correction=0, keepdim=True)
    return ((patches - mean) / std.clamp_min(_LEAST_SPREAD)).flatten(1)


def _to_nearest(of: Tensor, among: Tensor, patch: int, queries: int | None, seed: int) -> float:
    """Mean squared difference per value of patches of one picture [1, 3, H, W] to the nearest ones of another."""
    total, where = 0.0, _positions(_count(of, patch), queries, seed)
    for some in where.split(_QUERIES):
        query = cut(of, patch, some).flatten(1)
        least = query.new_full((len(query),), torch.inf)
        nearest = torch.zeros_like(query)
        for others in torch.arange(_count(among, patch)).split(_TARGETS):
            target = cut(among, patch, others).flatten(1)
            # |q - t|^2 less |q|^2, which is the same for all t.
            distance, index = torch.addmm(target.square().sum(1), query, target.T, alpha=-2).min(dim=1)
            closer = distance < least
            least = torch.where(closer, distance, least)
            nearest = torch.where(closer[:, None], target[index], nearest)
        # Anew from the difference: of equal patches the expanded square leaves a rounding error.
        total += float((query - nearest).square().mean(dim=1).sum())
    return total / len(where)
