"""The product of experts against closed forms and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from pinxit.models.poegan.experts import WIDEST, bounded, divergence, product, sample

KINDS = [torch.float32, torch.float64, torch.bfloat16]


def experts(*pairs: tuple[float, float], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """(mean, variance) of each expert -> mean and log variance [1, E, 1]."""
    means, variances = zip(*pairs, strict=True)
    return (
        torch.tensor(means, dtype=dtype).view(1, -1, 1),
        torch.tensor(variances, dtype=torch.float64).log().to(dtype).view(1, -1, 1),
    )


def there(*present: bool) -> Tensor:
    return torch.tensor([present])


@pytest.mark.parametrize("dtype", KINDS)
def test_no_expert_is_the_prior(dtype: torch.dtype) -> None:
    mean, log_variance = product(*experts((3.0, 0.5), (-2.0, 4.0), dtype=dtype), there(False, False))
    assert mean.item() == 0
    assert log_variance.item() == 0
    assert mean.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)


@pytest.mark.parametrize("dtype", KINDS)
def test_one_expert(dtype: torch.dtype) -> None:
    """N(m, v) times N(0, 1): variance v / (1 + v), mean m / (1 + v)."""
    near = 1e-2 if dtype == torch.bfloat16 else 1e-6
    for m, v in ((3.0, 0.25), (-1.5, 1.0), (0.75, 8.0)):
        mean, log_variance = product(*experts((m, v), dtype=dtype), there(True))
        assert mean.item() == pytest.approx(m / (1 + v), rel=near)
        assert log_variance.exp().item() == pytest.approx(v / (1 + v), rel=near)


@pytest.mark.parametrize("dtype", KINDS)
def test_two_experts(dtype: torch.dtype) -> None:
    near = 2e-2 if dtype == torch.bfloat16 else 1e-6
    (m1, v1), (m2, v2) = (2.0, 0.5), (-1.0, 0.125)
    mean, log_variance = product(*experts((m1, v1), (m2, v2), dtype=dtype), there(True, True))
    precision = 1 + 1 / v1 + 1 / v2
    assert mean.item() == pytest.approx((m1 / v1 + m2 / v2) / precision, rel=near)
    assert log_variance.exp().item() == pytest.approx(1 / precision, rel=near)


def test_it_is_the_normalised_product_of_the_densities() -> None:
    mean, log_variance = product(*experts((1.0, 0.5), (-0.5, 2.0)), there(True, True))
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    densities = sum(Normal(m, v**0.5).log_prob(x) for m, v in ((0.0, 1.0), (1.0, 0.5), (-0.5, 2.0)))
    assert isinstance(densities, Tensor)
    numeric = densities.exp() / torch.trapezoid(densities.exp(), x)
    closed = Normal(mean.item(), log_variance.exp().sqrt().item()).log_prob(x).exp()
    assert torch.allclose(numeric, closed, atol=1e-9)


def test_order_and_absence() -> None:
    """An absent expert is as one that is not there; the order means nothing."""
    one = product(*experts((2.0, 0.5)), there(True))
    with_absent = product(*experts((-9.0, 0.01), (2.0, 0.5)), there(False, True))
    assert [x.item() for x in with_absent] == pytest.approx([x.item() for x in one], rel=1e-15)
    a = product(*experts((2.0, 0.5), (-1.0, 3.0)), there(True, True))
    b = product(*experts((-1.0, 3.0), (2.0, 0.5)), there(True, True))
    assert [x.item() for x in a] == pytest.approx([x.item() for x in b], rel=1e-15)


def test_conflicting_experts_meet_in_the_middle_and_are_surer_than_each() -> None:
    mean, log_variance = product(*experts((5.0, 0.1), (-5.0, 0.1)), there(True, True))
    assert mean.item() == pytest.approx(0, abs=1e-12)
    assert log_variance.exp().item() == pytest.approx(1 / 21)
    mean, _ = product(*experts((5.0, 0.001), (-5.0, 10.0)), there(True, True))
    assert mean.item() == pytest.approx((5000 - 0.5) / 1001.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_precisions_neither_overflow_nor_vanish(dtype: torch.dtype) -> None:
    """exp(300) is no number of float32; the sure expert has it all, the unsure one nothing."""
    mean = torch.tensor([[[3.0], [-7.0]]], dtype=dtype)
    for log_variance, wanted in (((-300.0, 0.0), 3.0), ((0.0, -300.0), -7.0), ((-300.0, -300.0), -2.0)):
        logs = torch.tensor(log_variance, dtype=dtype).view(1, 2, 1)
        m, v = product(mean, logs, there(True, True))
        assert m.item() == pytest.approx(wanted, rel=1e-6)
        assert v.item() == pytest.approx(-300.0, abs=1.0)
    m, v = product(mean, torch.full((1, 2, 1), 300.0, dtype=dtype), there(True, True))
    assert m.item() == pytest.approx(0, abs=1e-30)
    assert v.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf])
def test_what_an_absent_expert_says_is_not_heard(rubbish: float) -> None:
    mean = torch.tensor([[[1.0], [rubbish]]], requires_grad=True)
    log_variance = torch.tensor([[[-1.0], [rubbish]]], requires_grad=True)
    m, v = product(mean, log_variance, there(True, False))
    wanted = product(torch.tensor([[[1.0]]]), torch.tensor([[[-1.0]]]), there(True))
    assert torch.equal(m, wanted[0])
    assert torch.equal(v, wanted[1])
    (m + v).sum().backward()
    for leaf in (mean, log_variance):
        assert leaf.grad is not None
        assert leaf.grad[0, 0].item() != 0
        assert leaf.grad[0, 1].item() == 0


def test_gradients_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=generator).requires_grad_()
    log_variance = (2 * torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=generator)).requires_grad_()
    present = torch.tensor([[True, True], [True, False], [False, False]])
    assert torch.autograd.gradcheck(lambda m, v: product(m, v, present), (mean, log_variance))
    assert torch.autograd.gradcheck(lambda m, v: divergence(m, v, present), (mean, log_variance))
    noise = torch.randn(3, 2, 2, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda m, v: sample(*product(m, v, present), noise), (mean, log_variance))


def test_samples_have_the_mean_and_the_deviation() -> None:
    noise = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    drawn = sample(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), math.log(0.25)), noise)
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


def test_divergence_is_that_of_each_expert_alone() -> None:
    """Against PyTorch's closed form; summed over channels, averaged over places, 0 where absent."""
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(2, 2, 3, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    found = divergence(mean, log_variance, torch.tensor([[True, False], [True, True]]))
    variance = log_variance.exp()
    alone = Normal(mean / (1 + variance), (variance / (1 + variance)).sqrt())
    wanted = kl_divergence(alone, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(2).mean((2, 3))
    wanted[0, 1] = 0
    assert torch.allclose(found, wanted)
    assert (found >= 0).all()


def test_bounded() -> None:
    x = torch.tensor([-1e6, -1.0, 0.0, 0.01, 1e6])
    y = bounded(x)
    assert y.abs().max() <= WIDEST
    assert y[2] == 0
    assert y[3].item() == pytest.approx(0.01, rel=1e-4)
