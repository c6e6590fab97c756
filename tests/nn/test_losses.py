"""Each loss against the formula its paper writes, with the gradient worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pinxit.nn.losses import (
    Adversarial,
    fake_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
    kl_to_standard_normal,
    real_loss,
)

# Away from the hinges' corners at -1 and 1.
LOGITS = [[-2.5, -0.5], [0.3, 3.0]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# kind: what one logit x costs on a real, on a fake, and in the generator; with the derivative of each.
FORMULAS = {
    "hinge": (
        (lambda x: max(0, 1 - x), lambda x: -1.0 if x < 1 else 0.0),
        (lambda x: max(0, 1 + x), lambda x: 1.0 if x > -1 else 0.0),
        (lambda x: -x, lambda x: -1.0),
    ),
    "ls": (
        (lambda x: (x - 1) ** 2, lambda x: 2 * (x - 1)),
        (lambda x: x**2, lambda x: 2 * x),
        (lambda x: (x - 1) ** 2, lambda x: 2 * (x - 1)),
    ),
    "original": (
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
        (lambda x: -math.log(1 - sigmoid(x)), lambda x: sigmoid(x)),
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
    ),
    "w": (
        (lambda x: -x, lambda x: -1.0),
        (lambda x: x, lambda x: 1.0),
        (lambda x: -x, lambda x: -1.0),
    ),
}


@pytest.mark.parametrize("which", [0, 1, 2], ids=["real", "fake", "generator"])
@pytest.mark.parametrize("kind", ["hinge", "ls", "original", "w"])
def test_adversarial_losses(kind: Adversarial, which: int) -> None:
    value, slope = FORMULAS[kind][which]
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = (real_loss, fake_loss, generator_loss)[which](logits, kind)
    flat = [x for row in LOGITS for x in row]
    assert loss.item() == pytest.approx(sum(value(x) for x in flat) / 4, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx([slope(x) / 4 for x in flat], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", ["hinge", "ls", "original", "w"])
def test_extreme_logits_stay_finite_and_bfloat16_is_computed_in_fp32(kind: Adversarial) -> None:
    for loss in (real_loss, fake_loss, generator_loss):
        logits = torch.tensor([-300.0, 300.0], dtype=torch.bfloat16, requires_grad=True)
        value = loss(logits, kind)
        assert value.dtype == torch.float32
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def outputs(*values: list[float], grad: bool = False) -> list[list[Tensor]]:
    """One discriminator a list, one pixel a layer."""
    return [[torch.full((2, 1, 1, 1), float(v), requires_grad=grad) for v in layers] for layers in values]


def test_feature_matching_leaves_out_logits_and_stops_at_the_real() -> None:
    fake, real = outputs([1, 2, 100], [3, 100], grad=True), outputs([0, 5, -100], [1, -100], grad=True)
    loss = feature_matching(fake, real)
    assert loss.item() == ((1 + 3) + 2) / 2  # summed over layers, averaged over the two discriminators
    loss.backward()
    assert all(layer.grad is None for scale in real for layer in scale)
    assert all(scale[-1].grad is None for scale in fake)
    # The mean over two pictures and two discriminators of a sign.
    assert [layer.grad.flatten().tolist() for scale in fake for layer in scale[:-1] if layer.grad is not None] == [
        [0.25, 0.25],
        [-0.25, -0.25],
        [0.25, 0.25],
    ]


def test_kl_is_the_closed_form_summed_over_the_batch() -> None:
    mean, log_variance = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[0.2, -0.7], [1.0, 0.0]])
    closed = sum(
        0.5 * (m**2 + math.exp(v) - 1 - v)
        for m, v in zip(mean.flatten().tolist(), log_variance.flatten().tolist(), strict=True)
    )
    assert kl_to_standard_normal(mean, log_variance).item() == pytest.approx(closed, rel=1e-6)
    library = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert kl_to_standard_normal(mean, log_variance).item() == pytest.approx(library.sum().item(), rel=1e-5)
    assert kl_to_standard_normal(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


def test_the_gradient_penalty_of_a_known_slope() -> None:
    """D(x) = a sum x^2: at the point x between the two its gradient is 2 a x."""
    a = torch.tensor(0.3, requires_grad=True)
    real, fake = (torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mix = torch.tensor([0.25, 1.0])
    points = torch.stack([0.25 * real[0] + 0.75 * fake[0], real[1]])
    lengths = points.flatten(1).norm(dim=1)
    penalty = gradient_penalty(lambda x: a * x.square(), real, fake.requires_grad_(), mix)
    assert penalty.item() == pytest.approx((2 * 0.3 * lengths - 1).square().mean().item(), rel=1e-5)
    penalty.backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx((2 * (2 * 0.3 * lengths - 1) * 2 * lengths).mean().item(), rel=1e-5)
    assert fake.grad is None


def test_the_gradient_penalty_is_fp32_under_autocast() -> None:
    D, x = torch.nn.Conv2d(3, 1, 1), torch.rand(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(D, x.bfloat16(), x, torch.tensor([0.5, 0.5]))
    assert penalty.dtype == torch.float32
    penalty.backward()
    assert D.weight.grad is not None
