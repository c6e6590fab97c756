"""The sliced Wasserstein distance of sets against a plain computation, and what it has to tell."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation.pictures import Pictures, pictures
from pinxit.evaluation.sliced import DIRECTIONS, PER_PICTURE, REPEATS, descriptors, level_distances, sliced_wasserstein


def painting(seed: int, height: int = 32, width: int = 40) -> Tensor:
    """Coloured structure at several scales, uint8 [3, H, W]."""
    random = torch.Generator().manual_seed(seed)
    whole = torch.zeros(3, height, width)
    for cell, strength in ((16, 0.5), (5, 0.3), (1, 0.1)):
        grid = torch.randn(1, 3, height // cell + 2, width // cell + 2, generator=random)
        whole += strength * F.interpolate(grid, (height, width), mode="bilinear")[0]
    return ((whole.clamp(-1, 1) + 1) * 127.5).byte()


def saved(folder: Path, *batch: Tensor) -> Pictures:
    folder.mkdir()
    for i, x in enumerate(batch):
        Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{i:03}.png")
    return pictures(folder, name=f"{folder.name} pictures")


def smoothed(x: np.ndarray) -> np.ndarray:
    """[H, W] by the 5 x 5 binomial filter, mirrored at the edges, tap by tap."""
    line = np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(x, 2, mode="reflect")
    height, width = x.shape
    near = [line[i] * line[j] * padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
    return np.sum(near, axis=0)


def test_patches_are_those_of_a_laplacian_pyramid(tmp_path: Path) -> None:
    """Every patch drawn occurs in a pyramid computed plainly, at its level."""
    batch = [painting(i, 35, 40) for i in range(2)]
    found = descriptors(saved(tmp_path / "some", *batch), (35, 40), seed=3)
    assert [*found] == [32, 16]
    for resolution, patches in found.items():
        assert patches.shape == (2 * PER_PICTURE, 3, 7, 7)
        for i, picture in enumerate(batch):
            planes = []
            for plane in picture.double().numpy() / 127.5 - 1:
                half = smoothed(plane)[::2, ::2]
                spaced = np.zeros_like(plane)
                spaced[::2, ::2] = half
                planes.append(plane - 4 * smoothed(spaced) if resolution == 32 else half)
            windows = np.lib.stride_tricks.sliding_window_view(np.stack(planes), (7, 7), axis=(1, 2))
            every = torch.from_numpy(windows.transpose(1, 2, 0, 3, 4).reshape(-1, 147).copy())
            mine = patches[i * PER_PICTURE : (i + 1) * PER_PICTURE].flatten(1).double()
            least, where = torch.cdist(mine, every, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
            assert least.max() < 1e-5
            assert len(where.unique()) > 0.5 * min(PER_PICTURE, len(every))  # drawn from all over


def test_the_distance_is_that_of_sorted_projections() -> None:
    random = np.random.default_rng(0)
    a = {16: torch.from_numpy(random.standard_normal((300, 3, 7, 7))).float()}
    b = {16: torch.from_numpy(2 + 3 * random.standard_gamma(1, (300, 3, 7, 7))).float()}

    def finalised(x: Tensor) -> np.ndarray:
        y = x.double().numpy()
        y = (y - y.mean((0, 2, 3), keepdims=True)) / y.std((0, 2, 3), keepdims=True)
        return y.reshape(len(y), -1)

    x, y = finalised(a[16]), finalised(b[16])
    distances = []
    for _ in range(4000):
        unit = random.standard_normal(147)
        unit /= np.linalg.norm(unit)
        distances.append(np.abs(np.sort(x @ unit) - np.sort(y @ unit)).mean())
    # Other directions: the bound is four times the error of the difference of the two means.
    error = 1000 * float(np.std(distances)) * math.sqrt(1 / 4000 + 1 / (REPEATS * DIRECTIONS))
    assert level_distances(a, b)[16] == pytest.approx(1000 * np.mean(distances), abs=4 * error)
    assert level_distances(a, a)[16] == 0


def test_the_score_names_its_levels_and_repeats(tmp_path: Path) -> None:
    fake = saved(tmp_path / "fake", *(painting(i) for i in range(6)))
    real = saved(tmp_path / "real", *(painting(100 + i) for i in range(9)))
    found = sliced_wasserstein(fake, real, seed=5)
    levels = found.details["levels"]
    assert [*levels] == ["16", "32"]
    assert found.value == pytest.approx(sum(levels.values()) / 2)
    assert "levels 16, 32; 6 pictures of 40x32 against 9; seed 5" in found.protocol
    assert sliced_wasserstein(fake, real, seed=5).value == found.value
    assert sliced_wasserstein(fake, real, seed=6).value == pytest.approx(found.value, rel=0.5)
    assert sliced_wasserstein(fake, real, seed=6).value != found.value


def test_what_chance_leaves_of_equal_sets_shrinks_with_their_number(tmp_path: Path) -> None:
    floors = []
    for number in (4, 64):
        batch = [painting(i) for i in range(number)]
        same = saved(tmp_path / f"a{number}", *batch)
        floors.append(sliced_wasserstein(same, same).value)
    assert 0 < floors[1] < 0.5 * floors[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "line"),
    [
        (
            [(32, 40), (32, 40)],
            [(40, 32), (40, 32)],
            r"^size of the pictures in ours pictures is 40x32, expected 32x40 ",
        ),
        (
            [(32, 40), (32, 41)],
            [(32, 40), (32, 40)],
            r"^size of the pictures in ours pictures is 4.x32 for 1 and 4.x32 ",
        ),
        (
            [(15, 40), (15, 40)],
            [(15, 40), (15, 40)],
            r"^size of the pictures in theirs pictures is 40x15, expected at ",
        ),
    ],
)
def test_sizes_that_differ_or_are_too_small_are_refused(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]], line: str, tmp_path: Path
) -> None:
    sets = [
        saved(tmp_path / name, *(painting(i, *size) for i, size in enumerate(sizes)))
        for name, sizes in (("ours", ours), ("theirs", theirs))
    ]
    with pytest.raises(PinxitError, match=line):
        sliced_wasserstein(*sets)


def test_any_size_from_16_is_taken(tmp_path: Path) -> None:
    for height, width, levels in ((16, 17, ["16"]), (37, 95, ["16", "32"]), (64, 65, ["16", "32", "64"])):
        some = saved(tmp_path / f"{height}", painting(0, height, width), painting(1, height, width))
        assert [*sliced_wasserstein(some, some).details["levels"]] == levels
