"""Distances between sets of features, in float64: tensors in, numbers out. Features are [N, C], a row for a picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Rows of one block of distances: 1024 to 50,000 others are 400 MB.
_ROWS = 1024
_WHOLE = 5000
"""Rows up to which kernels between all are kept: three of 200 MB."""


class Gaussian(NamedTuple):
    """Mean [C] and a root R [K, C] of the covariance, which is R'R. K is C, or less where there were fewer pictures."""

    mean: Tensor
    root: Tensor


def gaussian(features: Tensor) -> Gaussian:
    """The Gaussian of the mean and the covariance (over N - 1) of features [N, C], N at least 2.

    The root is found without the covariance itself, so that no digits are lost to squaring.
    """
    features = features.double()
    mean = features.mean(0)
    root = (features - mean) / math.sqrt(len(features) - 1)
    return Gaussian(mean, torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), of means m and covariances S (Heusel et al. 2017, eq. 6).

    With S_a = A'A and S_b = B'B, the trace of the root is the sum of the singular values of AB'. That needs neither a
    root of a matrix nor the usual `1e-6` on its diagonal, and is as exact for singular covariances.
    """
    spread = a.root.square().sum() + b.root.square().sum() - 2 * torch.linalg.svdvals(a.root @ b.root.T).sum()
    return float((a.mean - b.mean).square().sum() + spread)


def polynomial_mmd(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of [N, C] and [M, C] under the kernel (x'y / C + 1)^3.

    Bińkowski et al. 2018, sec. 4: the mean kernel within each set, pairs of a row with itself left out, less twice the
    mean between the sets. It may be below 0. N and M are at least 2.
    """
    return _mmd(_kernel(a, a), _kernel(a, b), _kernel(b, b))


def kernel_distance(a: Tensor, b: Tensor, *, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of `polynomial_mmd` over random subsets of `size` rows of each.

    Rows are drawn as torch-fidelity draws them (NumPy's legacy generator, first of `a`, then of `b`, without
    replacement within a subset), so that equal features give its very subsets.
    """
    random = np.random.RandomState(seed)
    drawn = [[torch.from_numpy(random.choice(len(of), size, replace=False)) for of in (a, b)] for _ in range(subsets)]
    # Small sets meet the same pairs again and again.
    if max(len(a), len(b)) <= _WHOLE and max(len(a), len(b)) ** 2 <= subsets * size**2:
        aa, ab, bb = _kernel(a, a), _kernel(a, b), _kernel(b, b)
        values = [_mmd(aa[i][:, i], ab[i][:, j], bb[j][:, j]) for i, j in drawn]
    else:
        values = [polynomial_mmd(a[i], b[j]) for i, j in drawn]
    return float(np.mean(values)), float(np.std(values))


def inception_score(logits: Tensor, *, splits: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over splits of exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016, sec. 4).

    logits [N, classes], N at least `splits`. Rows are shuffled, then cut at i N / splits, both as in torch-fidelity.
    """
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(logits)))
    log_p = logits.double()[order].log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * len(log_p) // splits : (i + 1) * len(log_p) // splits]
        log_mean = part.logsumexp(0) - math.log(len(part))  # from logarithms: a mean that underflows has none
        scores.append(float((part.exp() * (part - log_mean)).sum(1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


def precision_recall(generated: Tensor, real: Tensor, *, neighbours: int) -> tuple[float, float]:
    """How many generated rows lie among the real ones, and how many real ones among the generated: 0..1 each.

    Kynkäänniemi et al. 2019, eq. 1 and 2: a row lies among others if, for one of them, it is no further from it than
    that one's k-th nearest neighbour of its own set. Each set has more than `neighbours` rows.
    """
    generated, real = generated.double(), real.double()
    return _among(generated, real, neighbours), _among(real, generated, neighbours)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _mmd(aa: Tensor, ab: Tensor, bb: Tensor) -> float:
    within = ((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (aa, bb))
    return float(sum(within) - 2 * ab.mean())


def _among(rows: Tensor, others: Tensor, neighbours: int) -> float:
    # Its own distance of 0 is the first.
    radii = torch.cat([_squared(x, others).kthvalue(neighbours + 1).values for x in others.split(_ROWS)])
    return float(torch.cat([(_squared(x, others) <= radii).any(1) for x in rows.split(_ROWS)]).double().mean())


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [N, M] by way of a matrix product, some twenty times as quick as differences."""
    lengths = a.square().sum(1)[:, None] + b.square().sum(1)
    squared = lengths - 2 * a @ b.T
    # What rounding leaves of equal rows, or of one picture in two batches, is no distance: copies have a radius of 0.
    return squared.masked_fill_(squared < 1e-12 * lengths, 0)
