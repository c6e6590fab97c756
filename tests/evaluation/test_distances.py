"""Distances against closed forms, and against the same formulas written another way in NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.evaluation import distances
from pinxit.evaluation.distances import (
    Gaussian,
    frechet_distance,
    gaussian,
    inception_score,
    kernel_distance,
    polynomial_mmd,
    precision_recall,
)


def drawn(n: int, c: int, seed: int = 0) -> Tensor:
    """Features with correlations, far from mean 0, in float32 as the network gives them."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(c, c, generator=random) / c**0.5
    return torch.randn(n, c, generator=random) @ mix + 3 * torch.rand(c, generator=random)


def covariance_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root, by eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def frechet_by_roots(a: Tensor, b: Tensor) -> float:
    """Fréchet distance by covariances and their symmetric roots: tr (S^1/2 T S^1/2)^1/2."""
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = covariance_root(s)
    apart = x.mean(0) - y.mean(0)
    return float(apart @ apart + np.trace(s) + np.trace(t) - 2 * np.trace(covariance_root(root @ t @ root)))


# Fréchet distance


def test_frechet_of_gaussians_in_closed_form() -> None:
    # Diagonal covariances: |m - n|^2 + sum (s_i - t_i)^2 over standard deviations.
    m, n, s, t = (torch.tensor(v, dtype=torch.float64) for v in ([1, 2, 3], [1, 0, 4], [1, 2, 3], [3, 2, 0.5]))
    got = frechet_distance(Gaussian(m, torch.diag(s)), Gaussian(n, torch.diag(t)))
    assert got == pytest.approx(0 + 4 + 1 + 4 + 0 + 6.25, rel=1e-12)


def test_frechet_of_gaussians_that_do_not_commute() -> None:
    # In two dimensions tr (ST)^1/2 = sqrt(tr ST + 2 sqrt(det ST)), the trace of a root in closed form.
    a, b = torch.tensor([[2.0, 1.0], [0.0, 1.0]]).double(), torch.tensor([[1.0, -3.0], [0.0, 2.0]]).double()
    s, t = a.T @ a, b.T @ b
    root_trace = math.sqrt(float((s @ t).trace()) + 2 * math.sqrt(float(torch.linalg.det(s @ t))))
    zero = torch.zeros(2, dtype=torch.float64)
    expected = float(s.trace() + t.trace()) - 2 * root_trace
    assert frechet_distance(Gaussian(zero, a), Gaussian(zero, b)) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_rank_one() -> None:
    # S = u u', T = v v': tr (ST)^1/2 = |u'v|. Their product has one eigenvalue that is not 0, in 50 dimensions.
    u, v = drawn(2, 50).double()
    zero = torch.zeros(50, dtype=torch.float64)
    expected = float(u @ u + v @ v - 2 * (u @ v).abs())
    assert frechet_distance(Gaussian(zero, u[None]), Gaussian(zero, v[None])) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_a_shift_and_a_scale() -> None:
    x = drawn(40, 100)  # fewer rows than columns
    spread = x.double().var(0).sum()
    assert frechet_distance(gaussian(x), gaussian(x + 2)) == pytest.approx(400, rel=1e-4)  # x + 2 rounds in fp32
    x = x - x.mean(0)
    assert frechet_distance(gaussian(x), gaussian(3 * x)) == pytest.approx(4 * float(spread), rel=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "c"), [(300, 200, 20), (20, 300, 20), (21, 21, 20), (8, 200, 20), (5, 7, 64), (2, 2, 9)]
)
def test_frechet_is_that_by_covariances_and_their_roots(n: int, m: int, c: int) -> None:
    a, b = drawn(n, c), drawn(m, c, seed=1)
    # Roots of covariances lose half of the digits where they are singular; what we hold to is theirs.
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(frechet_by_roots(a, b), rel=1e-6)
    assert frechet_distance(gaussian(b), gaussian(a)) == pytest.approx(
        frechet_distance(gaussian(a), gaussian(b)), rel=1e-10
    )


@pytest.mark.parametrize(("n", "c"), [(300, 20), (10, 64), (64, 64), (65, 64)])
def test_a_set_is_at_distance_0_from_itself_in_any_order_and_any_copies(n: int, c: int) -> None:
    x = drawn(n, c)
    spread = float(x.double().var(0).sum())
    shuffled = x[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    assert frechet_distance(gaussian(x), gaussian(shuffled)) == pytest.approx(0, abs=1e-10 * spread)


def test_features_that_are_constant_or_correlated_do_no_harm() -> None:
    a, b = drawn(50, 10), drawn(60, 10, seed=1)
    plain = frechet_distance(gaussian(a), gaussian(b))
    wide_a, wide_b = (torch.cat([x, x, torch.full((len(x), 5), 7.0)], 1) for x in (a, b))
    # Each feature twice doubles means and covariances along them; what is constant adds nothing.
    assert frechet_distance(gaussian(wide_a), gaussian(wide_b)) == pytest.approx(2 * plain, rel=1e-10)


def test_the_root_is_one_of_the_covariance() -> None:
    for n in (5, 200):
        x = drawn(n, 12)
        root = gaussian(x).root
        assert root.shape == (min(n, 12), 12)
        np.testing.assert_allclose((root.T @ root).numpy(), np.cov(x.double().numpy(), rowvar=False), atol=1e-12)


# Kernel distance


def mmd_by_loops(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return float(np.dot(u, v) / len(u) + 1) ** 3

    def within(z: np.ndarray) -> float:
        n = len(z)
        return sum(k(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    return within(x) + within(y) - 2 * sum(k(u, v) for u in x for v in y) / (len(x) * len(y))


def test_mmd_by_hand() -> None:
    # One feature; kernels (xy + 1)^3: within {0, 1} 1, within {1, 2} 27, between 1, 1, 8, 27.
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert polynomial_mmd(a, b) == pytest.approx(1 + 27 - 2 * 37 / 4)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (7, 5), (30, 30)])
def test_mmd_is_that_by_loops(n: int, m: int) -> None:
    a, b = drawn(n, 6), drawn(m, 6, seed=1)
    assert polynomial_mmd(a, b) == pytest.approx(mmd_by_loops(a, b), rel=1e-10)


def test_mmd_is_without_bias() -> None:
    # Two halves of one distribution: the mean over many draws is 0 within its own error, on both sides of it.
    values = [
        polynomial_mmd(*torch.randn(60, 8, generator=torch.Generator().manual_seed(s)).chunk(2)) for s in range(300)
    ]
    mean, error = np.mean(values), np.std(values) / math.sqrt(len(values))
    assert abs(mean) < 3 * error
    assert min(values) < 0 < max(values)
    # A shift of one deviation is seen through that noise.
    a, b = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)).chunk(2)
    assert polynomial_mmd(a, b + 1) > 10 * np.std(values)


@pytest.mark.parametrize("whole", [0, 5000])
def test_kernel_distance_is_mean_and_deviation_over_the_subsets(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_WHOLE", whole)  # both ways of computing it
    a, b = drawn(30, 6), drawn(20, 6, seed=1)
    random = np.random.RandomState(7)
    values = []
    for _ in range(5):
        x = a[random.choice(30, 10, replace=False)]
        y = b[random.choice(20, 10, replace=False)]
        values.append(mmd_by_loops(x, y))
    expected = pytest.approx((np.mean(values), np.std(values)), rel=1e-9)
    assert kernel_distance(a, b, subsets=5, size=10, seed=7) == expected


def test_kernel_distance_of_two_halves_of_one_set_is_about_0() -> None:
    (a, b), other = drawn(400, 16).chunk(2), drawn(200, 16, seed=1)
    same, spread = kernel_distance(a, b, subsets=20, size=50, seed=0)
    apart, _ = kernel_distance(a, other, subsets=20, size=50, seed=0)
    assert abs(same) < spread
    assert apart > 20 * spread


def test_kernel_distance_of_a_set_with_itself_is_below_0_by_the_rows_own_pairs() -> None:
    # Between the sets a row meets itself, within one it does not: 2 (mean of others - mean of all).
    x = drawn(40, 16)
    k = (x.double().numpy() @ x.double().numpy().T / 16 + 1) ** 3
    expected = 2 * ((k.sum() - np.trace(k)) / (40 * 39) - k.mean())
    assert expected < 0
    assert kernel_distance(x, x, subsets=3, size=40, seed=0) == pytest.approx((expected, 0), rel=1e-9, abs=1e-9)


# Inception Score


def test_score_of_sure_and_even_predictions_is_the_number_of_classes() -> None:
    logits = 1000 * torch.eye(10).repeat(5, 1)  # probabilities of others underflow
    assert inception_score(logits, splits=1, seed=0) == pytest.approx((10, 0))


def test_score_of_predictions_that_say_nothing_is_1() -> None:
    assert inception_score(torch.zeros(20, 7), splits=4, seed=0) == pytest.approx((1, 0))
    same = torch.randn(7, generator=torch.Generator().manual_seed(0)).expand(20, 7)  # sure of one class, always
    assert inception_score(1000 * same, splits=4, seed=0) == pytest.approx((1, 0))


def test_a_constant_added_to_all_logits_of_a_row_changes_nothing_and_to_a_class_does() -> None:
    logits = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)).double()
    score = inception_score(logits, splits=4, seed=0)
    assert inception_score(logits + torch.arange(40)[:, None], splits=4, seed=0) == pytest.approx(score)
    assert inception_score(logits + torch.arange(7), splits=4, seed=0)[0] != pytest.approx(score[0], rel=1e-3)


@pytest.mark.parametrize(("n", "splits"), [(40, 4), (43, 10), (10, 10)])
def test_score_is_that_by_probabilities(n: int, splits: int) -> None:
    logits = 2 * torch.randn(n, 7, generator=torch.Generator().manual_seed(0))
    shuffled = logits.double().numpy()[np.random.RandomState(2020).permutation(n)]
    p = np.exp(shuffled) / np.exp(shuffled).sum(1, keepdims=True)
    edges = [i * n // splits for i in range(splits + 1)]
    values = []
    for start, end in itertools.pairwise(edges):
        entropy = -(p[start:end] * np.log(p[start:end])).sum(1).mean()
        mean = p[start:end].mean(0)
        values.append(np.exp(-(mean * np.log(mean)).sum() - entropy))  # H(E p) - E H(p)
    expected = pytest.approx((np.mean(values), np.std(values)), rel=1e-10)
    assert inception_score(logits, splits=splits, seed=2020) == expected


# Precision and recall


def test_precision_and_recall_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])  # radii with 1 neighbour: 1, 1, 1, 8
    generated = torch.tensor([[-1.0], [2.5], [3.5], [-5.0]])  # radii: 3.5, 1, 1, 4
    # -1 is 1 from 0: on the edge, which counts. 2.5 is 0.5 from 2, and 3.5 is 6.5 from 10. -5 is 5 from 0.
    # 0 and 1 and 2 lie within 3.5 of -1, 10 within nothing.
    assert precision_recall(generated, real, neighbours=1) == (0.75, 0.75)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_precision_and_recall_are_those_by_differences(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_ROWS", 7)  # several blocks
    generated, real = drawn(40, 5).double(), (drawn(50, 5) + 0.3).double()

    def among(x: np.ndarray, y: np.ndarray) -> float:
        own = np.sort(np.linalg.norm(y[:, None] - y[None], axis=2), axis=1)[:, neighbours]
        return float((np.linalg.norm(x[:, None] - y[None], axis=2) <= own).any(1).mean())

    x, y = generated.numpy(), real.numpy()
    expected = (among(x, y), among(y, x))
    assert 0.05 < min(expected) < max(expected) < 0.95  # not a comparison of ones
    assert precision_recall(generated, real, neighbours=neighbours) == pytest.approx(expected)


def test_precision_and_recall_of_equal_distant_and_dropped_sets() -> None:
    x = drawn(60, 8)
    assert precision_recall(x, x.flip(0), neighbours=3) == (1, 1)
    assert precision_recall(x, x + 100, neighbours=3) == (0, 0)
    # Four pictures over and over: each is real, most of what is real is missing. Copies have a radius of 0.
    dropped = x[:4].repeat(15, 1)
    assert precision_recall(dropped, x, neighbours=3) == (1, 4 / 60)


# A second opinion


def test_torchmetrics_agrees() -> None:
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    a, b = drawn(200, 16).double(), drawn(150, 16, seed=1).double()
    theirs = fid._compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(float(theirs), rel=1e-8)
    assert polynomial_mmd(a[:150], b) == pytest.approx(float(kid.poly_mmd(a[:150], b)), rel=1e-8)
