"""Each measure against what can be worked out by hand or by a plain second way, and against what it has to tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import patches
from pinxit.evaluation.patches import (
    coherence_completeness,
    diversity,
    rmse,
    scores,
    sliced_wasserstein,
    wasserstein_1d,
)

few = partial(sliced_wasserstein, patches=2048, repeats=1, directions=32)
"""The distance by fewer patches and directions, where it need not be exact."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def painting(height: int = 64, width: int = 80, seed: int = 0) -> Tensor:
    """Coloured structure at several scales, [3, H, W], about -1..1."""
    layers = []
    for cell, strength in ((24, 0.3), (8, 0.2), (3, 0.1), (1, 0.05)):
        grid = noise(1, 3, height // cell + 2, width // cell + 2, seed=seed + cell)
        layers.append(strength * F.interpolate(grid, (height, width), mode="bicubic", align_corners=False))
    return torch.stack(layers).sum(0)[0]


def blurred(photo: Tensor, sigma: float) -> Tensor:
    line = torch.exp(-torch.arange(-8, 9).square() / (2 * sigma**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 17, 17)
    return F.conv2d(F.pad(photo[None], (8, 8, 8, 8), mode="reflect"), kernel, groups=3)


# The Wasserstein distance of two sets of numbers


def test_wasserstein_of_as_many_values_is_the_mean_difference_in_order() -> None:
    assert wasserstein_1d(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.5, 5.0]])).tolist() == [1.25]


def test_wasserstein_of_unlike_numbers_of_values() -> None:
    # A half of the first is at 0 and a third of the second: a sixth of all has to move by 1; and twice as far by 2.
    a, b = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0, 1.0], [2.0, 0.0, 2.0]])
    torch.testing.assert_close(wasserstein_1d(a, b), torch.tensor([1 / 6, 1 / 3]))
    torch.testing.assert_close(wasserstein_1d(b, a), torch.tensor([1 / 6, 1 / 3]))


def test_wasserstein_equals_that_of_sets_repeated_to_one_length() -> None:
    a, b = noise(5, 21), 1 + 2 * noise(5, 6, seed=1)
    repeated = a.repeat(1, 2).sort(1).values - b.repeat(1, 7).sort(1).values
    torch.testing.assert_close(wasserstein_1d(a, b), repeated.abs().mean(1))


# Sliced Wasserstein distance


def smoothed(x: np.ndarray) -> np.ndarray:
    """[H, W] by the 5 x 5 binomial filter, the slow way."""
    line = np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(x, 2, mode="reflect")
    height, width = x.shape
    near = [line[i] * line[j] * padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
    return np.sum(near, axis=0)


def slow_level(picture: Tensor, fine: bool) -> np.ndarray:
    """A level of a pyramid of two, its 7 x 7 patches normalised: [K, 147]."""
    planes = []
    for plane in picture.double().numpy():
        half = smoothed(plane)[::2, ::2]
        spaced = np.zeros_like(plane)
        spaced[::2, ::2] = half
        planes.append(plane - 4 * smoothed(spaced) if fine else half)
    windows = np.lib.stride_tricks.sliding_window_view(np.stack(planes), (7, 7), axis=(1, 2))
    descriptors = windows.transpose(1, 2, 0, 3, 4).reshape(-1, 3, 49)
    descriptors = descriptors - descriptors.mean((0, 2), keepdims=True)
    return (descriptors / descriptors.std((0, 2), keepdims=True)).reshape(len(descriptors), -1)


def area_between(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 as the area between the two distribution functions, over the values."""
    at = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(x), at[:-1], side="right") / len(x) for x in (a, b)]
    return float((np.abs(below[0] - below[1]) * np.diff(at)).sum())


def test_swd_equals_a_second_way_to_compute_it() -> None:
    photo, sample = painting(33, 38), blurred(painting(41, 36, seed=5), 1.0)[0] + 0.1 * noise(3, 41, 36)
    got = sliced_wasserstein(sample[None], photo, directions=1024)
    random = np.random.default_rng(0)
    for resolution, fine in ((16, False), (32, True)):
        x, y = slow_level(photo, fine), slow_level(sample, fine)
        directions = random.standard_normal((147, 1024))
        directions /= np.linalg.norm(directions, axis=0)
        distances = [area_between(a, b) for a, b in zip((x @ directions).T, (y @ directions).T, strict=True)]
        # Other directions: the bound is four times the error of their mean.
        error = 1000 * float(np.std(distances)) / math.sqrt(len(distances))
        assert got[resolution] == pytest.approx(1000 * np.mean(distances), abs=4 * error)
        assert error < 0.05 * got[resolution]


def test_swd_of_flat_greys_to_white_noise_is_what_two_normal_distributions_are_apart() -> None:
    # Along a unit vector u noise is N(0, 1), and flat greys out of N(0, 1) are N(0, s^2) with s = |sum of u|. These are
    # |s - 1| sqrt(2 / pi) apart. The sum over a random u is N(0, 1) itself: the mean of |s - 1| is 0.53538.
    greys = torch.special.ndtri((torch.arange(256) + 0.5) / 256)
    flats = greys[:, None, None, None].expand(256, 3, 16, 16)
    got = sliced_wasserstein(flats, noise(3, 31, 1000))
    assert got == {16: pytest.approx(1000 * 0.53538 * math.sqrt(2 / math.pi), rel=0.06)}


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("most", [100, 1000, 100_000])  # fewer than any level has, than the finest has, and all
def test_swd_of_copies_is_0(copies: int, most: int) -> None:
    photo = painting()
    distances = few(photo.expand(copies, -1, -1, -1), photo, patches=most)
    assert distances == {16: 0, 32: 0, 64: 0}


@pytest.mark.parametrize("number", [1, 2, 5, 300])
def test_swd_takes_no_more_patches_than_asked_for(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def spy(a: Tensor, b: Tensor) -> Tensor:
        taken.append((a.shape[1], b.shape[1]))
        return a.new_zeros(1)

    monkeypatch.setattr(patches, "wasserstein_1d", spy)
    photo = painting(32, 40)  # 16 x 20 at the coarse level, of which 10 x 14 patches; at the fine one 26 x 34
    few(photo.expand(number, -1, -1, -1), photo, patches=500)
    assert taken == [(140, 140 * min(number, 3)), (500, 500)]


@pytest.mark.parametrize(
    ("height", "width", "resolutions"),
    [
        (188, 250, [16, 32, 64, 128]),
        (255, 128, [16, 32, 64, 128]),
        (127, 300, [16, 32, 64]),
        (31, 31, [16]),
        (16, 90, [16]),
    ],
)
def test_swd_names_levels_by_the_powers_of_two_in_the_shorter_side(
    height: int, width: int, resolutions: list[int]
) -> None:
    photo = painting(height, width)
    assert list(few(photo[None] + 0.1, photo, patches=64, directions=2)) == resolutions


@pytest.mark.parametrize("spoil", [lambda x, a: blurred(x, 0.5 * a), lambda x, a: x[None] + 0.02 * a * noise(*x.shape)])
def test_swd_grows_with_blur_and_noise_at_the_fine_level(spoil: Callable[[Tensor, float], Tensor]) -> None:
    photo = painting()
    by_strength = [few(spoil(photo, a), photo) for a in (1.0, 2.0, 4.0)]
    fine = [distances[64] for distances in by_strength]
    assert 5 < fine[0] < 0.9 * fine[1] < 0.81 * fine[2]
    assert all(distances[16] < distances[32] < distances[64] for distances in by_strength)


def test_swd_does_not_see_brightness_contrast_and_tint() -> None:
    photo = painting()
    factor, shift = torch.tensor([0.5, 0.8, 1.1])[:, None, None], torch.tensor([0.1, 0.0, -0.3])[:, None, None]
    assert max(few((factor * photo + shift)[None], photo).values()) < 0.01  # of 1000ths
    assert coherence_completeness((photo - 0.3)[None], photo).coherence[-1] > 0.001


def test_swd_sees_an_arrangement_only_where_patches_hold_it() -> None:
    # Columns in another order: every pixel is kept, hardly any patch.
    photo = painting()
    mixed = photo[:, :, torch.randperm(80, generator=torch.Generator().manual_seed(0))]
    assert min(few(mixed[None], photo).values()) > 50


def test_swd_of_flat_pictures_is_0_not_their_rounding_errors() -> None:
    flat = torch.full((3, 33, 33), 0.3)
    assert max(few(flat[None], flat).values()) == 0
    assert max(few(flat[None] / 3 + 1e-6 * noise(3, 33, 33), flat).values()) < 1  # of 1000, were both normalised


def test_swd_takes_samples_of_another_size_and_is_that_of_their_patches() -> None:
    photo = painting(96, 128)
    part, other = photo[None, :, :88, 8:], blurred(painting(88, 120, seed=50), 1.5)
    of_part, of_other = few(part, photo), few(other, photo)
    assert all(0 < of_part[level] < 0.5 * of_other[level] for level in (16, 32, 64))


# Coherence and completeness


def all_patches(picture: Tensor, size: int) -> Tensor:
    return F.unfold(picture[None].double(), size)[0].T


@pytest.mark.parametrize("blocks", [(1024, 8192), (100, 333)])
def test_similarity_equals_the_plain_formula(blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_QUERIES", blocks[0])
    monkeypatch.setattr(patches, "_TARGETS", blocks[1])
    photo, samples = painting(30, 40), torch.stack([painting(24, 36, seed=s) for s in (3, 4)])
    got = coherence_completeness(samples, photo, patch=5, levels=1, queries=None)
    distances = [torch.cdist(all_patches(s, 5), all_patches(photo, 5)).square() / 75 for s in samples]
    assert got.coherence == (pytest.approx(np.mean([d.amin(1).mean() for d in distances]), rel=1e-4),)
    assert got.completeness == (pytest.approx(np.mean([d.amin(0).mean() for d in distances]), rel=1e-4),)


def test_similarity_of_black_to_white_is_4() -> None:
    black = -torch.ones(1, 3, 32, 32)
    for direction in coherence_completeness(black, -black[0]):
        assert direction == pytest.approx((4, 4, 4), abs=1e-4)


def test_similarity_of_copies_is_0() -> None:
    photo = painting()
    assert coherence_completeness(photo.expand(2, -1, -1, -1), photo) == ((0, 0, 0), (0, 0, 0))


def test_similarity_by_some_patches_is_about_that_by_all() -> None:
    photo, sample = painting(), painting(seed=7)[None]
    some = coherence_completeness(sample, photo, levels=1, queries=1024)
    every = coherence_completeness(sample, photo, levels=1, queries=None)
    for a, b in zip(some, every, strict=True):
        assert a == pytest.approx(b, rel=0.1)


def test_a_crop_is_coherent_but_not_complete_and_a_whole_to_a_crop_the_other_way_round() -> None:
    photo = painting()
    crop = photo[:, 8:56, 8:40]
    lacking, added = coherence_completeness(crop[None], photo), coherence_completeness(photo[None], crop)
    assert lacking.coherence[-1] == added.completeness[-1] == 0
    assert lacking.completeness[-1] > 0.005
    assert added.coherence[-1] > 0.005


def test_an_object_left_out_is_a_matter_of_completeness() -> None:
    background = 0.2 * painting()
    photo = background.clone()
    photo[:, 20:44, 20:44] = torch.tensor([0.9, -0.9, -0.9])[:, None, None]
    lacking = coherence_completeness(background[None], photo)
    for coherence, completeness in zip(*lacking, strict=True):
        assert completeness > 10 * coherence


def test_tiles_in_another_order_are_coherent_and_noise_is_not() -> None:
    photo = painting(64, 96)
    tiles = photo.unfold(1, 32, 32).unfold(2, 32, 32).flatten(1, 2)[:, [4, 2, 5, 1, 3, 0]]
    shuffled = torch.cat([torch.cat(list(tiles[:, i : i + 3].unbind(1)), 2) for i in (0, 3)], 1)
    noisy = photo.mean() + photo.std() * noise(*photo.shape)
    of_tiles, of_noise = (coherence_completeness(x[None], photo).coherence for x in (shuffled, noisy))
    # Only patches across the seams, 22 % of all, may lack an equal. Coarse scales do not count: noise averages to grey.
    assert 0 < of_tiles[-1] < 0.22 * of_noise[-1]


def test_scales_at_which_a_picture_would_be_smaller_than_a_patch_are_left_out() -> None:
    assert [len(x) for x in coherence_completeness(painting(20, 20)[None], painting())] == [2, 2]
    assert [len(x) for x in coherence_completeness(painting()[None], painting(7, 20))] == [1, 1]


# Diversity and reconstruction


def test_diversity_by_hand() -> None:
    photo = torch.tensor([-0.5, 0.5]).expand(3, 8, 2)  # deviation 0.5
    first = painting(8, 8)
    second = first.clone()
    second[:, :4] += 0.4  # half the pixels deviate by 0.2, the others not: 0.1 over 0.5
    assert diversity(torch.stack([first, second]), photo) == pytest.approx(0.2)


@pytest.mark.parametrize(("channel", "luma"), [(0, 0.299), (1, 0.587), (2, 0.114)])
def test_diversity_is_of_luma(channel: int, luma: float) -> None:
    photo = torch.tensor([-0.5, 0.5]).expand(3, 8, 2)
    samples = torch.zeros(2, 3, 8, 8)
    samples[1, channel] = 1
    assert diversity(samples, photo) == pytest.approx(luma)


def test_diversity_of_copies_is_0_and_of_noise_like_the_photo_1() -> None:
    photo = painting()
    assert diversity(photo.expand(3, -1, -1, -1), photo) == pytest.approx(0, abs=1e-6)
    assert diversity(noise(100, 3, 20, 20), noise(3, 64, 64, seed=1)) == pytest.approx(1, rel=0.03)


def test_rmse() -> None:
    assert rmse(torch.tensor([0.0, 0.0]), torch.tensor([0.6, 0.8])) == pytest.approx(math.sqrt(0.5))
    assert rmse(torch.ones(3, 4, 4), -torch.ones(3, 4, 4)) == 2
    with pytest.raises(PinxitError, match=r"is \[1, 3, 4, 4\] and \[3, 4, 4\], expected the same one"):
        rmse(torch.ones(1, 3, 4, 4), torch.ones(3, 4, 4))


# All of them


def test_scores_are_flat_and_named() -> None:
    photo = painting(32, 40)
    samples = torch.stack([painting(32, 44, seed=s) for s in (1, 2)])
    table = scores(samples, photo)
    assert list(table) == ["swd_16", "swd_32", "coherence", "completeness", "diversity"]
    assert all(isinstance(value, float) and value > 0 for value in table.values())
    similarity = coherence_completeness(samples, photo)
    assert table["swd_32"] == sliced_wasserstein(samples, photo)[32]
    assert table["coherence"] == pytest.approx(np.mean(similarity.coherence))
    assert table["completeness"] == pytest.approx(np.mean(similarity.completeness))
    assert table["diversity"] == diversity(samples, photo)


def test_the_seed_decides_and_nothing_else() -> None:
    photo, samples = painting(), torch.stack([painting(seed=s) for s in (1, 2)])
    similarity = partial(coherence_completeness, queries=100)
    state = torch.get_rng_state()
    first = few(samples, photo), similarity(samples, photo)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert (few(samples, photo), similarity(samples, photo[None])) == first
    assert few(samples, photo, seed=1)[64] != first[0][64]
    assert similarity(samples, photo, seed=1) != first[1]


PHOTO = painting(20, 20)


@pytest.mark.parametrize("measure", [sliced_wasserstein, coherence_completeness, diversity, scores])
@pytest.mark.parametrize(
    ("samples", "photo", "line"),
    [
        (PHOTO[None, :1], PHOTO, r"shape of the samples is \[1, 1, 20, 20\], expected \[N, 3, H, W\]"),
        (PHOTO, PHOTO, r"shape of the samples is \[3, 20, 20\], expected"),
        (PHOTO[None, :, :0], PHOTO, r"shape of the samples is \[1, 3, 0, 20\], expected"),
        (PHOTO[None], PHOTO[:1], r"shape of the photo is \[1, 20, 20\], expected \[3, H, W\]"),
        (PHOTO[None], torch.stack([PHOTO, PHOTO]), r"shape of the photo is \[2, 3, 20, 20\], expected"),
        (PHOTO[None], PHOTO[:, :0], r"shape of the photo is \[3, 0, 20\], expected"),
        (PHOTO[None][:0], PHOTO, "number of samples is 0, expected at least 1"),
        (PHOTO[None].to(torch.uint8), PHOTO, "type of the samples is torch.uint8, expected a float"),
        (PHOTO[None] / 0, PHOTO, "samples is not finite"),
        (PHOTO[None], PHOTO * torch.nan, "photo is not finite"),
    ],
)
def test_what_is_no_picture_is_refused(
    measure: Callable[[Tensor, Tensor], object], samples: Tensor, photo: Tensor, line: str
) -> None:
    with pytest.raises(PinxitError, match=f"^{line}.*; [^\n]+$"):
        measure(samples, photo)


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        (lambda: sliced_wasserstein(PHOTO[None], PHOTO[:, :15]), "size of the photo is 20x15, expected at least 16x16"),
        (
            lambda: sliced_wasserstein(PHOTO[None, :, :, :6], PHOTO),
            "size of the samples is 6x20, expected at least 7x7",
        ),
        # Three levels: 24 pixels are 12 and 6.
        (lambda: sliced_wasserstein(painting(24, 40)[None], painting()), "is 40x24, expected at least 25x25"),
        (
            lambda: sliced_wasserstein(PHOTO[None], PHOTO, patch=21),
            "size of the samples is 20x20, expected at least 21x21",
        ),
        (lambda: few(painting(4, 4)[None], painting(), patch=1), "size of the samples is 4x4, expected at least 5x5"),
        (lambda: sliced_wasserstein(PHOTO[None], PHOTO, patches=0), "patches is 0, expected at least 1"),
        (lambda: coherence_completeness(PHOTO[None], PHOTO[:, :6]), "size of the photo is 20x6, expected at least 7x7"),
        (lambda: coherence_completeness(PHOTO[None], PHOTO, queries=0), "queries is 0, expected at least 1"),
        (lambda: diversity(PHOTO[None], PHOTO), "number of samples is 1, expected at least 2"),
        (lambda: scores(PHOTO[None], PHOTO), "number of samples is 1, expected at least 2"),
        (lambda: diversity(torch.stack([PHOTO, PHOTO]), PHOTO * 0), "photo is of one grey, expected"),
    ],
)
def test_what_cannot_be_measured_is_refused(measure: Callable[[], object], line: str) -> None:
    with pytest.raises(PinxitError, match=f"{line}.*; [^\n]+$"):
        measure()


def test_the_least_size_that_is_asked_for_is_enough() -> None:
    assert len(few(painting(25, 25)[None], painting())) == 3
    assert len(few(painting(5, 5)[None], painting(), patch=1)) == 3
