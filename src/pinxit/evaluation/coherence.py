"""Patch coherence and completeness: whether what is painted occurs in the real pictures, and the other way round.

The bidirectional similarity of Simakov et al. 2008, its two terms apart. It needs no pretrained network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pinxit.errors import expected
from pinxit.evaluation.patches import coherence_completeness, cut, reduced
from pinxit.evaluation.pictures import Pictures
from pinxit.evaluation.results import Score

PATCH = 7
# Targets of one block of distances, against all patches that look for their nearest: 33 MB for 1024 of these.
_TARGETS = 8192


@torch.no_grad()
def patch_similarity(
    generated: Pictures,
    real: Pictures,
    *,
    levels: int = 3,
    queries: int = 1024,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[Score]:
    """Coherence and completeness: mean squared difference per value, of RGB in -1..1, to the nearest patch; 0..4.

    Coherence asks of patches of the generated pictures how near the nearest of all patches of the real ones is: high
    for what is invented or spoilt, and blind to what is left out. Completeness asks of patches of the real pictures how
    near the nearest of all the generated ones is: it sees what is never painted, but also what is painted badly. Both
    forgive a patch in the wrong place, or in the wrong picture.

    Of two sets: `queries` patches of each set and scale, drawn from `seed`, evenly from its pictures; they look among
    all patches of all pictures of the other set, which takes time with the product. Of a single real photo the two are
    means over the generated pictures, each with the photo alone, as the paper defines them. The scales, as many of
    `levels` as the smallest picture allows, are averaged; `details` has them apart. Pictures may be of any sizes.

    Raises:
        PinxitError: a picture is smaller than a patch, or `levels` or `queries` is below 1.
    """
    for name, number in (("levels", levels), ("queries", queries)):
        if number < 1:
            raise expected(name, number, "at least 1", "give a larger number")
    for pictures in (generated, real):
        for file, (height, width) in zip(pictures.files, pictures.sizes(), strict=True):
            if min(height, width) < PATCH:
                thing = f"size of '{file.name}' in {pictures.name}"
                raise expected(thing, f"{width}x{height}", f"at least {PATCH}x{PATCH}", "take larger pictures")
    smallest = min(side for pictures in (generated, real) for size in pictures.sizes() for side in size)
    levels = max(level + 1 for level in range(levels) if round(smallest / 2**level) >= PATCH)

    if len(real) == 1:
        coherence, completeness = _of_one_photo(generated, real, levels, queries, seed, device)
        how = f"mean over {len(generated)} pictures, each with the one real photo"
    else:
        coherence, completeness = _of_sets(generated, real, levels, queries, seed, device)
        how = f"among all patches of the other set; {len(generated)} pictures against {len(real)}"
    return [
        Score(
            name,
            sum(scales) / levels,
            "lower",
            f"{which} term of Simakov et al. 2008: mean squared difference per value of {PATCH}x{PATCH} patches, RGB "
            f"of -1..1, to the nearest; {queries} patches a scale, {how}; mean over {levels} scales; seed {seed}",
            None,
            {"scales": {f"1/{1 << level}": value for level, value in enumerate(scales)}},
        )
        for name, which, scales in (("Coherence", "first", coherence), ("Completeness", "second", completeness))
    ]


class Nearest:
    """For patches [Q, 3, p, p], the nearest seen so far among those of the pictures that they were shown."""

    def __init__(self, queries: Tensor) -> None:
        self.patch = queries.shape[-1]
        self.queries = queries.flatten(1)
        self.least = self.queries.new_full((len(queries),), torch.inf)
        self.found = torch.zeros_like(self.queries)

    def look(self, picture: Tensor) -> None:
        """Among all patches of a picture [1, 3, H, W]."""
        count = (picture.shape[2] - self.patch + 1) * (picture.shape[3] - self.patch + 1)
        for where in torch.arange(count).split(_TARGETS):
            targets = cut(picture, self.patch, where).flatten(1)
            # |q - t|^2 less |q|^2, which is the same for all t.
            distance, index = torch.addmm(targets.square().sum(1), self.queries, targets.T, alpha=-2).min(dim=1)
            closer = distance < self.least
            self.least = torch.where(closer, distance, self.least)
            self.found = torch.where(closer[:, None], targets[index], self.found)

    def difference(self) -> float:
        """The mean squared one, per value: anew, since of equal patches the expanded square leaves a rounding error."""
        return float((self.queries - self.found).square().mean())


def _of_sets(
    generated: Pictures, real: Pictures, levels: int, queries: int, seed: int, device: str | torch.device
) -> tuple[list[float], list[float]]:
    found = []
    for of, among, own_seed in ((generated, real, 2 * seed), (real, generated, 2 * seed + 1)):
        searches = [Nearest(patches) for patches in _drawn(of, levels, queries, own_seed, device)]
        for picture in among:
            for level, search in enumerate(searches):
                search.look(_scaled(picture, level, device))
        found.append([search.difference() for search in searches])
    return found[0], found[1]


def _of_one_photo(
    generated: Pictures, real: Pictures, levels: int, queries: int, seed: int, device: str | torch.device
) -> tuple[list[float], list[float]]:
    photo = _scaled(real[0], 0, device)
    found = [
        coherence_completeness(_scaled(picture, 0, device), photo, levels=levels, queries=queries, seed=seed)
        for picture in generated
    ]
    means = torch.tensor(found, dtype=torch.float64).mean(0)
    return means[0].tolist(), means[1].tolist()


def _drawn(pictures: Pictures, levels: int, queries: int, seed: int, device: str | torch.device) -> list[Tensor]:
    """For each scale, `queries` patches at random positions, from each picture as many as from another, or one more."""
    random = torch.Generator().manual_seed(seed)
    each, more = divmod(queries, len(pictures))
    drawn: list[list[Tensor]] = [[] for _ in range(levels)]
    for turn, i in enumerate(torch.randperm(len(pictures), generator=random).tolist()):
        number = each + (turn < more)
        if not number:
            break
        picture = pictures[i]
        for level, patches in enumerate(drawn):
            scaled = _scaled(picture, level, device)
            count = (scaled.shape[2] - PATCH + 1) * (scaled.shape[3] - PATCH + 1)
            patches.append(cut(scaled, PATCH, torch.randint(count, (number,), generator=random)))
    return [torch.cat(patches) for patches in drawn]


def _scaled(picture: Tensor, level: int, device: str | torch.device) -> Tensor:
    """uint8 [3, H, W] to float [1, 3, h, w] in -1..1, reduced to 1 / 2^`level`."""
    return reduced(picture[None].to(device, torch.float32) / 127.5 - 1, 1 << level)
