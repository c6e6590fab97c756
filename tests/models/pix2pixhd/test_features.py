"""Means over objects, what is kept of them, and clusters."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.features import Bank, Objects, draw, find_objects, instance_means, k_means, spread

INSTANCE = Network(labels=4, features="instance")
LABEL = dataclasses.replace(INSTANCE, features="label")


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels and instances of two pictures, blocks of 4 pixels, and features of each pixel."""
    generator = torch.Generator().manual_seed(0)

    def blocks(high: int) -> torch.Tensor:
        return torch.randint(0, high, (2, 4, 6), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)

    return blocks(4), 26_000 + 7 * blocks(5), torch.rand(2, 3, 16, 24, generator=generator)


@pytest.mark.parametrize("c", [INSTANCE, LABEL], ids=["instance", "label"])
def test_every_object_has_the_mean_of_its_pixels_in_its_picture(c: Network) -> None:
    labels, instances, x = example()
    objects = find_objects(labels, instances, c)
    features = spread(instance_means(x, objects.place), objects.place)
    regions = labels if c.features == "label" else instances
    for picture in range(2):
        for id in regions[picture].unique():
            of = regions[picture] == id
            mean = x[picture, :, of].mean(1)
            torch.testing.assert_close(features[picture][:, of], mean[:, None].expand(-1, int(of.sum())))
            (number,) = objects.place[picture][of].unique().tolist()
            assert objects.ids[number] == id
            assert objects.labels[number] == labels[picture][of].bincount().argmax()
    assert len(objects.ids) == sum(len(r.unique()) for r in regions)


def test_gradients_reach_every_pixel_alike() -> None:
    labels, instances, x = example()
    objects = find_objects(labels, instances, INSTANCE)
    x.requires_grad_()
    spread(instance_means(x, objects.place), objects.place).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_without_labels_all_objects_have_label_0() -> None:
    _, instances, x = example()
    objects = find_objects(x, instances, dataclasses.replace(INSTANCE, source="pictures", labels=0))
    assert objects.labels.sum() == 0


def objects_of(ids: list[int], labels: list[int], place: torch.Tensor) -> Objects:
    return Objects(torch.tensor(ids), torch.tensor(labels), place)


def test_the_bank_keeps_the_latest_of_large_objects() -> None:
    bank = Bank(labels=3, channels=2, capacity=4)
    place = torch.zeros(1, 16, 16, dtype=torch.int64)
    place[0, :2, :2] = 1  # 4 of 256 pixels: 1/64, which is not more than that
    place[0, 2:8, :] = 2
    for i in range(6):
        bank.add(objects_of([0, 1, 2], [0, 1, 2], place), torch.full((3, 2), float(i)))
    assert bank.seen.tolist() == [6, 0, 6]
    assert sorted(bank.features[0, :, 0].tolist()) == [2, 3, 4, 5]
    centres, counts = bank.clusters(3)
    assert centres.shape == (3, 3, 2)
    assert counts.tolist() == [3, 0, 3]
    assert Bank(3, 2).clusters(5)[1].tolist() == [0, 0, 0]


def test_k_means_finds_clusters_the_largest_first() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]])
    sizes = [30, 60, 10]
    points = torch.cat([m + 0.1 * torch.randn(n, 2, generator=generator) for m, n in zip(middles, sizes, strict=True)])
    points = points[torch.randperm(100, generator=generator)]
    centres = k_means(points, 3)
    torch.testing.assert_close(centres, middles[[1, 0, 2]], atol=0.15, rtol=0)
    assert torch.equal(centres, k_means(points, 3))


@pytest.mark.parametrize("points", [torch.zeros(1, 3), torch.ones(50, 3), torch.tensor([[0.0], [1.0], [1.0]])])
def test_there_are_no_more_clusters_than_different_points(points: torch.Tensor) -> None:
    centres = k_means(points, 10)
    assert len(centres) == len(points.unique(dim=0))
    torch.testing.assert_close(centres.sort(0).values, points.unique(dim=0))


def test_an_object_keeps_its_style_whatever_else_there_is() -> None:
    clusters = torch.rand(3, 5, 2)
    counts = torch.tensor([5, 0, 3])
    place = torch.zeros(1, 1, 1, dtype=torch.int64)
    many = draw(objects_of([7, 8, 9, 10], [0, 1, 2, 0], place), clusters, counts, seed=3)
    assert torch.equal(many[0], draw(objects_of([7], [0], place), clusters, counts, seed=3)[0])
    assert many[1].tolist() == [0, 0]
    assert any(torch.equal(many[2], row) for row in clusters[2, :3])
    others = [draw(objects_of(list(range(40)), [0] * 40, place), clusters, counts, seed) for seed in range(2)]
    assert not torch.equal(*others)
    assert len(others[0].unique(dim=0)) == 5
