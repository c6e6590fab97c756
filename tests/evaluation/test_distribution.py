"""The scores: agreement with plain formulas over the same features, protocols that say all, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import distribution
from pinxit.evaluation.distribution import Metric, fid, inception_score, kid, precision_recall, scores
from pinxit.evaluation.features import Features, Protocol
from pinxit.evaluation.inception import SHA256, Inception, Layer
from pinxit.evaluation.pictures import Pictures, pictures


class Small(Inception):
    """A quick stand-in of the network's outputs: 2048 random filters of a reduced picture."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        random = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(2048, 3, 23, 23, generator=random) / 40, requires_grad=False)
        self.fc = torch.nn.Linear(2048, 1008)
        torch.nn.init.normal_(self.fc.weight, std=0.05, generator=random)
        self.requires_grad_(False)
        self.digest = SHA256
        self.pictures = 0

    def forward(self, x: Tensor, stop: Layer = "2048") -> Tensor:
        assert stop == "2048"
        self.pictures += len(x)
        return F.conv2d(x, self.weight, stride=69).relu().mean((2, 3))


def made(count: int, seed: int = 0, name: str = "generated pictures", protocol: Protocol = "clean") -> Features:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(16, 2048, generator=torch.Generator().manual_seed(9))
    values = torch.randn(count, 16, generator=random) @ mix / 4 + 0.05 * torch.randn(count, 2048, generator=random)
    return Features(values, name, "ab" * 32, (256, 512), protocol, "2048", SHA256)


def folder(path: Path, count: int, seed: int = 0, size: tuple[int, int] = (24, 32)) -> Path:
    path.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        small = random.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path / f"{i}.png")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def generated(tmp_path: Path) -> Pictures:
    return pictures(folder(tmp_path / "fake", 12, seed=1), name="generated pictures")


@pytest.fixture
def real(tmp_path: Path) -> Pictures:
    return pictures(folder(tmp_path / "real", 15), name="real pictures")


def test_all_of_them_from_one_pass(generated: Pictures, real: Pictures, cache: Path) -> None:
    network = Small()
    table = scores(generated, real, network, "torch-fidelity")
    assert [s.name for s in table] == ["FID", "KID", "Inception Score", "Precision", "Recall"]
    assert [s.better for s in table] == ["lower", "lower", "higher", "higher", "higher"]
    assert network.pictures == 12 + 15
    assert all(math.isfinite(s.value) for s in table)
    assert [s.spread is None for s in table] == [True, False, False, True, True]
    assert len(list(cache.iterdir())) == 1  # what is real is kept
    again = Small()
    assert scores(generated, real, again, "torch-fidelity") == table
    assert again.pictures == 12
    for one in table:
        assert "torch-fidelity (bilinear to 299x299 as TensorFlow 1" in one.protocol
        assert f"inception-2015-12-05 (SHA-256 {SHA256[:8]}), layer 2048" in one.protocol
        assert "12 generated pictures of 32x24" in one.protocol
        assert ("15 real pictures of 32x24" in one.protocol) == (one.name != "Inception Score")
        assert one.details["weights"] == {"Inception": SHA256}
        assert "\n" not in one.protocol


def test_equal_sets_score_as_equal_sets_do(generated: Pictures) -> None:
    by_name = {s.name: s.value for s in scores(generated, generated, Small())}
    assert by_name["FID"] == pytest.approx(0, abs=1e-9)
    assert by_name["Precision"] == by_name["Recall"] == 1
    assert abs(by_name["KID"]) < 0.1


def test_the_metrics_that_are_named_alone_and_what_they_need(generated: Pictures, real: Pictures) -> None:
    network = Small()
    (only,) = scores(generated, real, network, metrics=["inception_score"])
    assert network.pictures == 12
    assert only == next(s for s in scores(generated, real, network) if s.name == "Inception Score")


def test_fid_is_the_formula_by_covariances() -> None:
    a, b = made(30), made(40, seed=1, name="real pictures")
    x, y = a.values.double().numpy(), b.values.double().numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # The eigenvalues of S T that are not 0 are those of this small one: S T = X' (X Y' Y), X and Y centred.
    x0, y0 = (x - x.mean(0)) / math.sqrt(29), (y - y.mean(0)) / math.sqrt(39)
    trace = np.sqrt(np.linalg.eigvals(x0 @ y0.T @ y0 @ x0.T).real.clip(0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * trace
    score = fid(a, b)
    assert score.value == pytest.approx(expected, rel=1e-6)
    assert score.details["remark"].startswith("30 pictures span less than the 2048 features")
    assert fid(b, a).value == pytest.approx(score.value)


def test_kid_takes_subsets_as_large_as_the_smaller_set_and_says_so() -> None:
    score = kid(made(30), made(40, seed=1), subsets=10)
    assert "mean of 10 subsets of 30 (seed 2020)" in score.protocol
    assert score.spread is not None
    assert score.spread > 0
    assert kid(made(30), made(40, seed=1), subsets=10, seed=1).value != score.value
    assert "subsets of 20 " in kid(made(30), made(40, seed=1), subsets=2, size=20).protocol


def test_an_inception_that_is_not_the_published_one_is_told() -> None:
    a, b = (dataclasses.replace(made(5, seed=seed), weights="12" * 32) for seed in (0, 1))
    assert "an Inception network that is not the published one (SHA-256 12121212)" in fid(a, b).protocol


def test_inception_score_of_classes_of_ones_own() -> None:
    """As with the paper's classifiers of birds and flowers: of their own number of classes, with bias."""
    network = Small()
    network.fc = torch.nn.Linear(2048, 20)
    torch.nn.init.normal_(network.fc.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    network.fc.requires_grad_(False).bias.copy_(torch.linspace(-2, 2, 20))
    score = inception_score(made(40), network)
    assert "20 classes, logits with bias" in score.protocol
    assert 1 <= score.value <= 20
    network.fc.bias.zero_()
    assert inception_score(made(40), network).value != score.value


def test_inception_score_reads_logits_without_bias() -> None:
    network = Small()
    score = inception_score(made(20), network)
    network.fc.bias.data += torch.arange(1008)
    assert inception_score(made(20), network) == score
    assert 1 < score.value < 2  # two pictures in each split


def test_dropped_modes_cost_recall_and_noise_costs_precision() -> None:
    real = made(60, name="real pictures")
    dropped = dataclasses.replace(real, values=real.values[:6].repeat(10, 1))
    noisy = dataclasses.replace(real, values=real.values + 3 * torch.randn(60, 2048, generator=torch.Generator()))
    precision, recall = precision_recall(dropped, real)
    assert precision.value == 1
    assert recall.value == 0.1
    precision, recall = precision_recall(noisy, real)
    assert precision.value < 0.1
    assert [precision.name, recall.name] == ["Precision", "Recall"]


@pytest.mark.parametrize("metric", [*get_args(Metric)])
def test_one_picture_is_no_set(metric: Metric, generated: Pictures, real: Pictures) -> None:
    network = Small()
    with pytest.raises(PinxitError, match=r"^number of generated pictures is 1, expected at least 2; add more$"):
        scores(Pictures(generated.files[:1], "generated pictures"), real, network, metrics=[metric])
    with pytest.raises(PinxitError, match=r"^number of real pictures is 1, expected at least 2; add more$"):
        scores(generated, Pictures(real.files[:1], "real pictures"), network, metrics=[metric])
    assert network.pictures == 0


@pytest.mark.parametrize(
    ("metric", "count", "line"),
    [
        ("inception_score", 9, "is 9, expected at least 10, one for each of 10 splits; add more"),
        ("precision_recall", 3, "is 3, expected at least 4, for 3 neighbours each; add more"),
    ],
)
def test_too_few_pictures_are_told_before_the_network_runs(
    metric: Metric, count: int, line: str, generated: Pictures, real: Pictures
) -> None:
    network = Small()
    with pytest.raises(PinxitError, match=f"^number of generated pictures {line}$"):
        scores(Pictures(generated.files[:count], "generated pictures"), real, network, metrics=[metric])
    assert network.pictures == 0


def test_mixed_sizes_are_told_before_the_network_runs(generated: Pictures, real: Pictures, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "real" / "90.png")
    network = Small()
    with pytest.raises(PinxitError, match=r"^size of the pictures in real pictures is 32x24 for 15 .*give --size"):
        scores(generated, pictures(tmp_path / "real", name="real pictures"), network)
    assert network.pictures == 0
    mended = pictures(tmp_path / "real", name="real pictures", size=(24, 32))
    assert "16 real pictures of 32x24" in scores(generated, mended, network)[0].protocol


def test_sets_that_were_measured_differently_are_refused() -> None:
    line = r"^measurement of real pictures is by pytorch-fid, layer 2048, .* expected clean, 2048, .*; measure both"
    with pytest.raises(PinxitError, match=line):
        fid(made(5), made(5, name="real pictures", protocol="pytorch-fid"))
    with pytest.raises(PinxitError, match="measure both in one way"):
        kid(made(5), dataclasses.replace(made(5), weights="12" * 32))
    with pytest.raises(PinxitError, match=r"^features of generated pictures is of layer 2048 and weights 1212"):
        inception_score(dataclasses.replace(made(20), weights="12" * 32), Small())


def test_an_unknown_metric_is_refused(generated: Pictures, real: Pictures) -> None:
    with pytest.raises(PinxitError, match=r"^metric is 'FID', expected one of"):
        scores(generated, real, Small(), metrics=["FID"])  # pyright: ignore[reportArgumentType]


def test_the_seed_is_torch_fidelitys() -> None:
    assert distribution.SEED == 2020
