"""That metrics get worse as pictures do, on pictures that are made up here; and how the study tells what it found.

Inception and the backbone of LPIPS have random weights, Inception is left after its first pooling, and the pictures are
few and small: what is asserted is which way the numbers go.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.metrics import FAULTS, Networks, Photos
from PIL import Image

from benchmarks import metrics
from pinxit.evaluation import distribution
from pinxit.evaluation.coherence import patch_similarity
from pinxit.evaluation.features import features
from pinxit.evaluation.lpips import lpips
from pinxit.evaluation.pictures import Pictures
from pinxit.evaluation.results import Score
from pinxit.evaluation.sifid import Stem, sifid
from pinxit.evaluation.similarity import psnr, ssim
from pinxit.evaluation.sliced import sliced_wasserstein

SPOILT = ("blur", "noise", "JPEG")
by_patches = partial(patch_similarity, queries=128)


def painting(seed: int, height: int = 48, width: int = 64) -> Image.Image:
    """A colour of its own, and structure at several scales."""
    random = torch.Generator().manual_seed(seed)
    whole = (torch.rand(3, 1, 1, generator=random) * 1.2 - 0.6).expand(3, height, width).clone()
    for cell, strength in ((24, 0.4), (8, 0.3), (3, 0.2), (1, 0.05)):
        grid = torch.randn(1, 3, height // cell + 2, width // cell + 2, generator=random)
        whole += strength * F.interpolate(grid, (height, width), mode="bicubic")[0]
    return Image.fromarray(((whole.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).contiguous().numpy())


@pytest.fixture(scope="module")
def photos() -> Photos:
    return [painting(seed) for seed in range(16)]


@pytest.fixture(scope="module")
def networks(photos: Photos) -> Networks:
    return metrics.random_networks(photos, "64")


@pytest.fixture(scope="module")
def sets(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Pictures]]:
    """Fault -> the unspoilt pictures and three strengths; each in a folder."""
    home = tmp_path_factory.mktemp("sets")
    plain = metrics.saved(home / "plain", photos)
    return {
        name: [plain, *(metrics.saved(home / f"{name} {s}", fault.spoil(photos, s, 0)) for s in fault.strengths[-3:])]
        for name, fault in FAULTS.items()
    }


def worse_of_patches(spoilt: list[Pictures]) -> list[list[float]]:
    """Coherence and completeness by strength."""
    both = [by_patches(some, spoilt[0]) for some in spoilt]
    return [[scores[term].value for scores in both] for term in range(2)]


def grows(values: Sequence[float]) -> bool:
    return all(b > a for a, b in pairwise(values))


def worse(scores: Sequence[Score]) -> list[float]:
    return [score.value if score.better == "lower" else -score.value for score in scores]


@pytest.mark.parametrize("fault", [*SPOILT, "shuffled pairs"])
def test_metrics_of_pairs_get_worse_with_each_step(
    fault: str, sets: dict[str, list[Pictures]], networks: Networks
) -> None:
    real = sets[fault][0]
    for score in (ssim, psnr, lambda a, b: lpips(a, b, networks.lpips)):
        assert grows(worse([score(some, real) for some in sets[fault]])), score
    for layer in range(2):
        assert grows(worse([sifid(some, real, Stem(networks.inception))[layer] for some in sets[fault]]))


@pytest.mark.parametrize("fault", SPOILT)
def test_metrics_of_sets_get_worse_with_each_step(
    fault: str, sets: dict[str, list[Pictures]], networks: Networks
) -> None:
    real = sets[fault][0]
    distances = worse([sliced_wasserstein(some, real) for some in sets[fault]])
    if fault == "JPEG":  # SWD sees it, but no more of it at a quality of 8 than at one of 20
        assert min(distances[1:]) > distances[0] + 10
    else:
        assert grows(distances)
    for term in worse_of_patches(sets[fault]):
        assert grows(term)
    theirs = features(real, networks.inception, layer=networks.layer)
    ours = [features(some, networks.inception, layer=networks.layer) for some in sets[fault]]
    assert grows(worse([distribution.fid(one, theirs) for one in ours]))
    kids = [distribution.kid(one, theirs, subsets=20, size=8).value for one in ours]
    assert kids[-1] > max(kids[:2])


def test_mode_dropping_is_seen_by_recall_and_completeness_not_by_precision_and_coherence(
    sets: dict[str, list[Pictures]], networks: Networks
) -> None:
    real, *few = sets["mode dropping"]
    theirs = features(real, networks.inception, layer=networks.layer)
    table = [
        distribution.precision_recall(features(some, networks.inception, layer=networks.layer), theirs)
        for some in (real, *few)
    ]
    assert [precision.value for precision, _ in table] == [1] * 4
    recalls = [recall.value for _, recall in table]
    assert recalls[0] == 1
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[-1] < 0.2
    coherence, completeness = worse_of_patches([real, *few])
    assert coherence == [0] * 4
    assert grows(completeness)


def test_shuffled_pairs_are_not_seen_by_metrics_of_sets(sets: dict[str, list[Pictures]], networks: Networks) -> None:
    real, *_, mixed = sets["shuffled pairs"]
    assert [score.value for score in by_patches(mixed, real)] == [0, 0]
    ours, theirs = (features(some, networks.inception, layer=networks.layer) for some in (mixed, real))
    assert distribution.fid(ours, theirs).value == pytest.approx(0, abs=1e-6)
    # Of equal sets chance leaves 34 to 36, by seed; the weakest noise has 38 to 40, three pictures of four dropped 66.
    assert abs(sliced_wasserstein(mixed, real).value - sliced_wasserstein(real, real).value) < 4


def test_faults_do_what_they_say(photos: Photos) -> None:
    pixels = [np.asarray(photo).tobytes() for photo in photos]
    for share, distinct in ((0.5, 8), (0.1, 2), (0.02, 1)):
        left = [np.asarray(photo).tobytes() for photo in metrics.dropped(photos, share, 0)]
        assert (len(left), len(set(left))) == (16, distinct)
        assert set(left) <= set(pixels)
    for share, moved in ((0.25, 4), (1.0, 16)):
        mixed = [np.asarray(photo).tobytes() for photo in metrics.shuffled(photos, share, 0)]
        assert sorted(mixed) == sorted(pixels)
        assert sum(a != b for a, b in zip(mixed, pixels, strict=True)) == moved
    noise = np.asarray(metrics.noisy([Image.new("RGB", (100, 100), (128, 128, 128))], 10, 0)[0]).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(
    ("values", "better", "want"),
    [
        ([0, 1, 2, 5], "lower", "sees"),
        ([math.inf, 40, 30, 20], "higher", "sees"),
        ([0, 3, 2, 5], "lower", "unsteady"),
        ([5, 6, 7, 8], "higher", "rewards"),
        ([5, 5.05, 5, 5.1], "higher", "blind"),
        ([math.inf, 5, 5, 5], "higher", "sees"),
    ],
)
def test_verdicts(values: list[float], better: str, want: str) -> None:
    assert metrics.verdict(values, better, usual=10) == want


def test_the_study_runs_and_is_drawn(
    photos: Photos, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"JPEG": FAULTS["JPEG"]._replace(strengths=(30, 5))}
    monkeypatch.setattr(metrics, "FAULTS", one)
    found: dict[str, Any] = metrics.study(photos[:6], networks, tmp_path / "sets", lambda line: None)
    assert {"SSIM", "PSNR", "LPIPS", "SIFID (64)", "SWD", "Coherence", "FID", "KID", "Recall"} <= set(found)
    for name, metric in found.items():
        assert len(metric["values"]["JPEG"]) == 3
        assert metric["verdicts"]["JPEG"] in metrics.COLORS, name
    assert found["SSIM"]["verdicts"]["JPEG"] == "sees"
    json.dumps(metrics.finite(found), allow_nan=False)
    picture = metrics.plot(found, ["FID"], "a title")
    colors = picture.getcolors(1 << 20)
    assert colors is not None
    assert metrics.COLORS["sees"] in {color for _, color in colors}
    assert metrics.table(found).count("\n") == len(found) + 1
