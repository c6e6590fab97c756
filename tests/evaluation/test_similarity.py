"""SSIM and PSNR against loops that follow the papers' formulas, and against what can be worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation.pictures import Pictures, pictures
from pinxit.evaluation.similarity import matched, psnr, signal_to_noise, ssim, structural_similarity


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def saved(folder: Path, batch: dict[str, Tensor]) -> Pictures:
    folder.mkdir()
    for name, picture in batch.items():
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(folder / name)
    return pictures(folder, name=f"{folder.name} pictures", least=1)


def naive_ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """[H, W], window by window and weight by weight."""
    weights = np.array([[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)])
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = a[top : top + 11, left : left + 11], b[top : top + 11, left : left + 11]
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            variance_x, variance_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
            above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
            found.append(above / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize("data_range", [255.0, 2.0])
def test_ssim_equals_a_loop_over_windows(data_range: float) -> None:
    a = noise(2, 3, 13, 16)
    b = (0.7 * a + 0.3 * noise(2, 3, 13, 16, seed=1)).round()
    a, b = (x.double() * (data_range / 255) for x in (a, b))
    want = [np.mean([naive_ssim(a[n, c].numpy(), b[n, c].numpy(), data_range) for c in range(3)]) for n in range(2)]
    got = structural_similarity(a, b, data_range=data_range)
    assert got.dtype == torch.float64
    assert got.tolist() == pytest.approx(want, abs=1e-12)
    assert 0.2 < got[0] < 0.95


def test_ssim_of_flat_greys_is_its_luminance_term_alone() -> None:
    a, b = torch.full((1, 3, 20, 30), 100.0), torch.full((1, 3, 20, 30), 150.0)
    c1 = 2.55**2
    assert structural_similarity(a, b).item() == pytest.approx((2 * 15000 + c1) / (100**2 + 150**2 + c1), abs=1e-12)


def test_ssim_of_equals_is_1_of_a_negative_below_0_and_it_is_symmetric() -> None:
    a, b = noise(1, 3, 32, 32), noise(1, 3, 32, 32, seed=1)
    assert structural_similarity(a, a).item() == pytest.approx(1, abs=1e-12)
    assert structural_similarity(a, 255 - a).item() < -0.5
    assert structural_similarity(a, b).item() == pytest.approx(structural_similarity(b, a).item(), abs=1e-15)


def test_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(3, 40, 50), noise(3, 40, 50, seed=1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, whole = metrics.structural_similarity(a.numpy(), b.numpy(), channel_axis=0, full=True, **options)
    want = whole[:, 5:-5, 5:-5].mean()
    assert structural_similarity(a[None], b[None]).item() == pytest.approx(want, abs=1e-9)


def test_psnr_is_20_log10_of_range_over_rmse_and_infinite_for_equals() -> None:
    a = noise(2, 3, 4, 5)
    b = a.double()
    b[0, 0, 0, 0] += 6
    assert signal_to_noise(a, b).tolist() == [pytest.approx(20 * math.log10(255 / math.sqrt(36 / 60))), math.inf]
    assert signal_to_noise(a / 127.5 - 1, b / 127.5 - 1, data_range=2)[0].item() == pytest.approx(
        signal_to_noise(a, b)[0].item(), abs=1e-4
    )


def test_uint8_does_not_wrap_around() -> None:
    a, b = torch.zeros(1, 3, 11, 11, dtype=torch.uint8), torch.full((1, 3, 11, 11), 255, dtype=torch.uint8)
    assert signal_to_noise(a, b).item() == pytest.approx(0)
    assert structural_similarity(a, b).item() < 0.001


def test_scores_are_means_over_pairs_by_name(tmp_path: Path) -> None:
    ours = {"b.png": noise(3, 16, 16), "a.png": noise(3, 20, 24, seed=1), "c.png": noise(3, 16, 16, seed=2)}
    theirs = {"a.png": noise(3, 20, 24, seed=3), "b.png": ours["b.png"], "c.bmp": noise(3, 16, 16, seed=4)}
    fake, real = saved(tmp_path / "fake", ours), saved(tmp_path / "real", theirs)
    twins = [(ours["a.png"], theirs["a.png"]), (ours["c.png"], theirs["c.bmp"])]
    each = [float(structural_similarity(a[None], b[None])) for a, b in twins]
    found = ssim(fake, real)
    assert found.value == pytest.approx((sum(each) + 1) / 3)
    assert found.spread == pytest.approx(float(np.std([*each, 1.0], ddof=1)))
    assert "mean over 3 pairs (1 of 24x20, 2 of 16x16)" in found.protocol

    each = [float(signal_to_noise(a[None], b[None])) for a, b in twins]
    errors = [float((a.double() - b.double()).square().mean()) for a, b in twins]
    found = psnr(fake, real)
    assert found.value == pytest.approx(10 * math.log10(255**2 / (sum(errors) / 3)))
    assert found.details == {"pairs": 3, "equal_pairs": 1, "mean_of_pairs": pytest.approx(sum(each) / 2)}
    assert "3 pairs (1 of 24x20, 2 of 16x16), 1 of them equal" in found.protocol


def test_equal_sets(tmp_path: Path) -> None:
    batch = {"a.png": noise(3, 16, 16), "b.png": noise(3, 16, 16, seed=1)}
    fake, real = saved(tmp_path / "fake", batch), saved(tmp_path / "real", batch)
    assert psnr(fake, real).value == math.inf
    assert psnr(fake, real).details["mean_of_pairs"] is None
    assert ssim(fake, real).value == pytest.approx(1, abs=1e-12)


def test_pairs_of_unlike_size_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    fake = saved(tmp_path / "fake", {"a.png": noise(3, 16, 16), "b.png": noise(3, 16, 20)})
    real = saved(tmp_path / "real", {"a.png": noise(3, 16, 16), "b.png": noise(3, 20, 16)})
    line = r"^size of 'b.png' in fake pictures is 20x16, expected 16x20 \(width x height\) as in real pictures; .*$"
    for score in (ssim, psnr):
        with pytest.raises(PinxitError, match=line):
            score(fake, real)
    with pytest.raises(PinxitError, match=line):
        next(matched(fake, real))


def test_pictures_below_the_window_are_refused(tmp_path: Path) -> None:
    fake, real = (saved(tmp_path / name, {"a.png": noise(3, 10, 40)}) for name in ("fake", "real"))
    with pytest.raises(PinxitError, match=r"^size of 'a.png' in fake pictures is 40x10, expected at least 11x11; "):
        ssim(fake, real)
    with pytest.raises(PinxitError, match=r"^size of the pictures is 40x10, expected at least 11x11; "):
        structural_similarity(noise(1, 3, 10, 40), noise(1, 3, 10, 40))
    assert psnr(fake, real).value == math.inf  # has no window


@pytest.mark.parametrize("shapes", [((1, 3, 16, 16), (1, 3, 16, 17)), ((3, 16, 16),) * 2, ((0, 3, 16, 16),) * 2])
def test_tensors_of_unlike_shape_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for measure in (structural_similarity, signal_to_noise):
        with pytest.raises(PinxitError, match=r"^shape of the pictures to compare is \["):
            measure(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
