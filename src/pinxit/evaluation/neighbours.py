"""The nearest training pictures of generated ones: whether a model paints, or repeats what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

SIDE = 64
"""Pixels that pictures are compared at."""

Features = Callable[[Tensor], Tensor]
"""Pictures [N, 3, 64, 64] in [-1, 1] -> a row for each, whose distances are compared."""


class Neighbour(NamedTuple):
    """A training picture, by its number, and how far it is."""

    number: int
    distance: float


def by_pixels(pictures: Tensor) -> Tensor:
    """Rows whose distance is the root of the mean squared difference of pixels, 0..2."""
    return pictures.flatten(1) / pictures[0].numel() ** 0.5


def by_angle(features: Features) -> Features:
    """Rows whose distance grows with the angle between `features`: the root of 2 - 2 cos, 0..2."""

    def rows(pictures: Tensor) -> Tensor:
        return torch.nn.functional.normalize(features(pictures).float(), dim=1)

    return rows


@torch.no_grad()
def nearest(
    samples: Tensor, training: Iterable[Tensor], features: Mapping[str, Features], count: int = 3
) -> dict[str, list[list[Neighbour]]]:
    """For each measure the `count` nearest of the training pictures of each sample, the nearest first.

    samples [N, 3, 64, 64], training: batches [B, 3, 64, 64] of all training pictures, all in [-1, 1]. A training
    picture counts as it is and mirrored, whichever is nearer, since most trainings mirror. Of the pictures nothing but
    the nearest so far is kept, so that a set may be of any size.
    """
    ours = {name: of(samples).float() for name, of in features.items()}
    best = {name: (torch.empty(len(samples), 0), torch.empty(len(samples), 0, dtype=torch.long)) for name in features}
    seen = 0
    for batch in training:
        places = torch.arange(seen, seen + len(batch)).expand(len(samples), -1)
        for name, of in features.items():
            found = torch.stack([torch.cdist(ours[name], of(side).float()) for side in (batch, batch.flip(3))])
            distances = torch.cat([best[name][0], found.amin(dim=0).cpu()], dim=1)
            numbers = torch.cat([best[name][1], places], dim=1)
            kept = distances.topk(min(count, distances.shape[1]), largest=False)
            best[name] = kept.values, numbers.gather(1, kept.indices)
        seen += len(batch)
    return {
        name: [
            [Neighbour(int(i), float(d)) for d, i in zip(row, indices, strict=True)]
            for row, indices in zip(distances.tolist(), numbers.tolist(), strict=True)
        ]
        for name, (distances, numbers) in best.items()
    }
