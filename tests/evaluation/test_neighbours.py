"""Nearest training pictures: found wherever they lie, mirrored too, and by either measure."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pinxit.evaluation.neighbours import by_angle, by_pixels, nearest


def some(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_copies_are_found_mirrored_and_in_any_batch() -> None:
    training = some(20, 0)
    samples = torch.stack([training[13], training[4].flip(2), some(1, 5)[0]])
    found = nearest(samples, training.split(6), {"pixels": by_pixels}, count=2)["pixels"]
    assert [row[0].number for row in found[:2]] == [13, 4]
    assert [row[0].distance for row in found[:2]] == pytest.approx([0, 0], abs=2e-3)
    assert all(row[0].distance <= row[1].distance for row in found)
    plain = torch.stack([(training - samples[2]).square(), (training.flip(3) - samples[2]).square()])
    by_hand = plain.mean((2, 3, 4)).sqrt().amin(0)
    assert found[2][0].number == int(by_hand.argmin())
    assert found[2][0].distance == pytest.approx(float(by_hand.min()), abs=1e-4)


def test_features_may_see_something_else_than_pixels() -> None:
    training = some(8, 0)

    def colours(pictures: Tensor) -> Tensor:
        return pictures.mean((2, 3))

    sample = 0.5 * training[6:7].mean((2, 3), keepdim=True).expand(-1, -1, 64, 64)  # the same angle, other pixels
    found = nearest(sample, [training], {"pixels": by_pixels, "colours": by_angle(colours)}, count=20)
    assert found["colours"][0][0].number == 6
    assert found["colours"][0][0].distance == pytest.approx(0, abs=2e-3)
    assert len(found["pixels"][0]) == 8
