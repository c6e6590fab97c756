"""Features of objects (Wang et al. 2018, sec. 3.4): means over instances, and their clusters, the styles of a label."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pinxit.models.pix2pixhd.config import Network
from pinxit.recipe import world_size

MOST = 64
"""Objects larger than 1/64 of a picture there can be in it; smaller ones are no examples for clusters, as in the
official code."""


class Objects(NamedTuple):
    """What has features of its own in a batch of pictures: its instances, or its labels."""

    ids: Tensor
    """int64 [K]: the instance's id, or the label."""
    labels: Tensor
    """int64 [K]: the label that most of its pixels have."""
    place: Tensor
    """int64 [N, H, W]: which of the K each pixel belongs to; one id means another object in each picture."""


def find_objects(source: Tensor, instances: Tensor | None, c: Network) -> Objects:
    """The objects of label indices [N, H, W] (or pictures [N, C, H, W], whose objects have label 0) and instance ids
    [N, H, W], in ascending order of picture and id."""
    regions = source if c.features == "label" else instances
    assert regions is not None
    low, span = regions.min(), regions.max() - regions.min() + 1
    offsets = torch.arange(len(regions), device=regions.device)[:, None, None] * span
    codes, place = torch.unique(regions - low + offsets, return_inverse=True)
    labels = torch.zeros_like(codes)
    if c.source == "labels":
        known = c.labels + c.unknown
        votes = torch.bincount((place * known + source).flatten(), minlength=len(codes) * known)
        labels = votes.view(-1, known).argmax(1)
    return Objects(codes % span + low, labels, place)


def instance_means(x: Tensor, place: Tensor) -> Tensor:
    """The mean of each feature over each object's pixels: x [N, F, H, W], place [N, H, W] -> [K, F]."""
    flat, place = x.permute(0, 2, 3, 1).flatten(0, 2).float(), place.flatten()
    counts = torch.bincount(place).to(flat.dtype)
    return flat.new_zeros(len(counts), flat.shape[1]).index_add(0, place, flat) / counts[:, None]


def spread(means: Tensor, place: Tensor) -> Tensor:
    """Features of objects [K, F] on all their pixels [N, F, H, W]."""
    return means[place].permute(0, 3, 1, 2)


class Bank(nn.Module):
    """The latest features of each label's objects, of which the clusters are made.

    It fills in training, so that the clusters need no pass over the data of their own. Its state is saved and restored
    with the networks, and equal on all ranks.
    """

    features: Tensor
    seen: Tensor

    def __init__(self, labels: int, channels: int, capacity: int = 1000) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(labels, capacity, channels))
        self.register_buffer("seen", torch.zeros(labels, dtype=torch.int64))

    @torch.no_grad()
    def add(self, objects: Objects, means: Tensor) -> None:
        """Keep the features [K, F] of the objects that are larger than 1/64 of their picture."""
        pictures, pixels = len(objects.place), objects.place[0].numel()
        large = torch.bincount(objects.place.flatten()) * MOST > pixels
        chosen = torch.full((pictures * MOST, 1 + means.shape[1]), -1.0, device=means.device)
        rows = torch.cat([objects.labels[large, None].to(means.dtype), means[large]], dim=1)
        chosen[: len(rows)] = rows
        if world_size() > 1:
            parts = [torch.empty_like(chosen) for _ in range(world_size())]
            dist.all_gather(parts, chosen)
            chosen = torch.cat(parts)
        for row in chosen[chosen[:, 0] >= 0]:
            label = int(row[0])
            self.features[label, self.seen[label] % self.features.shape[1]] = row[1:]
            self.seen[label] += 1

    def clusters(self, most: int) -> tuple[Tensor, Tensor]:
        """Up to `most` centres of each label's features, the largest cluster first: [L, most, F], and how many [L]."""
        centres = torch.zeros(len(self.seen), most, self.features.shape[2])
        counts = self.seen.cpu().clamp(max=self.features.shape[1])
        found = torch.zeros_like(counts)
        for label, count in enumerate(counts.tolist()):
            if count:
                of_label = k_means(self.features[label, :count].cpu(), most)
                found[label] = len(of_label)
                centres[label, : len(of_label)] = of_label
        return centres, found


def k_means(points: Tensor, k: int, seed: int = 0, rounds: int = 100) -> Tensor:
    """Centres of at most `k` clusters [k, F] of `points` [P, F], the one of most points first (Lloyd 1982).

    Begins as Arthur & Vassilvitskii 2007: each centre drawn with odds of the squared distance to those before it.
    """
    generator = torch.Generator().manual_seed(seed)
    points = points.double()
    centres = points[:1]
    while len(centres) < k:
        far = torch.cdist(points, centres).amin(1).square()
        if far.max() <= 1e-12:
            break  # no more different points than centres
        centres = torch.cat([centres, points[torch.multinomial(far, 1, generator=generator)]])
    nearest = torch.zeros(len(points), dtype=torch.int64)
    for _ in range(rounds):
        before, nearest = nearest, torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centres))[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        if torch.equal(before, nearest):
            break
    order = torch.bincount(nearest, minlength=len(centres)).argsort(descending=True, stable=True)
    return centres[order].float()


def draw(objects: Objects, clusters: Tensor, counts: Tensor, seed: int) -> Tensor:
    """Features [K, F] of one picture's objects: to each a cluster of its label, drawn by `seed` and its id alone, so
    that an object keeps its style whatever else changes. 0 where a label has none.

    `clusters` [L, C, F], `counts` [L], on the CPU.
    """
    drawn = torch.zeros(len(objects.ids), clusters.shape[2])
    for i, (id, label) in enumerate(zip(objects.ids.tolist(), objects.labels.tolist(), strict=True)):
        if count := int(counts[label]):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + id) % (1 << 63))
            drawn[i] = clusters[label, int(torch.randint(count, (1,), generator=generator))]
    return drawn
