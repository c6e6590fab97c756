"""The perceptual distance, on random weights: the published ones are 575 MB."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pinxit.errors import PinxitError
from pinxit.nn.vgg import PerceptualDistance, load_perceptual

# VGG-19 by layers, as the published file numbers them: ReLU and pooling counted.
PLACES = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512, 25: 512, 28: 512}
POOLS = {4, 9, 18, 27}
TAPS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
"""Layers relu1_1, relu2_1, relu3_1, relu4_1, relu5_1, and their weights."""


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A state dict as the published file has it, the classifier cut short."""
    torch.manual_seed(0)
    tensors, inputs = {}, 3
    for place, outputs in {**PLACES, 30: 512}.items():
        # 30 stands for the deeper layers, which the distance does without.
        tensors[f"features.{place}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{place}.bias"] = 0.1 * torch.randn(outputs)
        inputs = outputs
    return {**tensors, "classifier.0.weight": torch.zeros(7, 5), "classifier.0.bias": torch.zeros(7)}


@pytest.fixture(scope="module")
def distance(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> PerceptualDistance:
    path = tmp_path_factory.mktemp("vgg") / "vgg19-dcbb9e9d.pth"
    torch.save(state, path)
    loaded = load_perceptual(path)
    path.unlink()  # 50 MB
    return loaded


def written_out(state: dict[str, Tensor], x: Tensor) -> dict[int, Tensor]:
    """What VGG-19 computes, layer by layer in the published numbering."""
    taps = {}
    for place in range(30):
        if f"features.{place}.weight" in state:
            x = nn.functional.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)
        elif place in POOLS:
            x = nn.functional.max_pool2d(x, 2, 2)
        else:
            x = x.clamp(min=0)
        if place in TAPS:
            taps[place] = x
    return taps


def pictures(seed: int) -> Tensor:
    return torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_convolutions_lie_where_the_published_file_has_them() -> None:
    convolutions = PerceptualDistance().convolutions
    assert {int(place): conv.out_channels for place, conv in convolutions.items()} == PLACES  # type: ignore[union-attr]


def test_five_taps_and_the_weighted_distance(distance: PerceptualDistance, state: dict[str, Tensor]) -> None:
    taps = distance.features(pictures(0))
    assert [tuple(t.shape) for t in taps] == [
        (1, 64, 32, 48),
        (1, 128, 16, 24),
        (1, 256, 8, 12),
        (1, 512, 4, 6),
        (1, 512, 2, 3),
    ]
    a, b = written_out(state, pictures(0)), written_out(state, pictures(1))
    for ours, theirs in zip(taps, a.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    expected = sum(weight * (a[place] - b[place]).abs().mean() for place, weight in TAPS.items())
    torch.testing.assert_close(distance(pictures(0), pictures(1)), expected, rtol=1e-4, atol=1e-6)


def test_equal_pictures_are_at_distance_zero_and_only_the_fake_gets_a_gradient(distance: PerceptualDistance) -> None:
    assert distance(pictures(0), pictures(0)).item() == 0
    fake, real = pictures(0).requires_grad_(), pictures(1).requires_grad_()
    distance(fake, real).backward()
    assert fake.grad is not None
    assert fake.grad.abs().max() > 0
    assert real.grad is None
    assert all(p.grad is None and not p.requires_grad for p in distance.parameters())


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize("damage", ["empty", "one byte", "text", "list", "lacks a layer", "another shape", "numbers"])
def test_a_bad_file_is_told_in_one_line(damage: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    small = {k: v[:1] for k, v in state.items()}
    match damage:
        case "empty":
            path.touch()
        case "one byte":
            path.write_bytes(b"\x80")
        case "text":
            path.write_text("<html>404</html>")
        case "list":
            torch.save([1, 2], path)
        case "lacks a layer":
            torch.save(without(small, "features.28.bias"), path)
        case "another shape":
            torch.save(small, path)
        case "numbers":
            torch.save(dict.fromkeys(state, 1), path)
    with pytest.raises(
        PinxitError, match=r"^VGG-19 weights '.*vgg.pth' is damaged or of another network, expected .*$"
    ):
        load_perceptual(path)


def test_a_missing_file_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"is not there, .*--vgg.*--no-perceptual$"):
        load_perceptual(tmp_path / "vgg.pth")
