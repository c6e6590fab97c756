"""Maps as channels."""

from __future__ import annotations

import torch

from pinxit.nn.semantics import boundary, one_hot


def test_each_pixel_has_the_one_of_its_label() -> None:
    labels = torch.tensor([[[0, 2], [1, 2]]])
    hot = one_hot(labels, 4)
    assert hot.shape == (1, 4, 2, 2)
    assert torch.equal(hot.argmax(1), labels)
    assert hot.sum() == 4


def test_both_sides_of_a_boundary_are_on_it() -> None:
    instances = torch.zeros(2, 5, 6, dtype=torch.int64)
    instances[0, 1:, 2:] = 70_000
    edge = boundary(instances)
    assert edge.shape == (2, 1, 5, 6)
    assert edge[1].sum() == 0
    expected = torch.tensor(
        [
            [0, 0, 1, 1, 1, 1],
            [0, 1, 1, 1, 1, 1],
            [0, 1, 1, 0, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [0, 1, 1, 0, 0, 0],
        ]
    ).float()
    assert torch.equal(edge[0, 0], expected)
    assert torch.equal(boundary(-instances), edge)
