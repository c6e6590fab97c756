"""Losses as pure functions of predictions. Every one returns a scalar in fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["hinge", "ls", "original", "w"]


def real_loss(logits: Tensor, kind: Adversarial) -> Tensor:
    """What the discriminator pays on real pictures. `logits` of any shape, unbounded."""
    logits = logits.float()
    match kind:
        case "hinge":
            return F.relu(1 - logits).mean()
        case "ls":
            return F.mse_loss(logits, torch.ones_like(logits))
        case "original":
            return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        case "w":
            return -logits.mean()


def fake_loss(logits: Tensor, kind: Adversarial) -> Tensor:
    """What the discriminator pays on generated pictures."""
    logits = logits.float()
    match kind:
        case "hinge":
            return F.relu(1 + logits).mean()
        case "ls":
            return F.mse_loss(logits, torch.zeros_like(logits))
        case "original":
            return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
        case "w":
            return logits.mean()


def generator_loss(logits: Tensor, kind: Adversarial) -> Tensor:
    """What the generator pays: for `original` the non-saturating form (Goodfellow et al. 2014, sec. 3)."""
    return -logits.float().mean() if kind == "hinge" else real_loss(logits, kind)


def feature_matching(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of discriminator features (Wang et al. 2018, eq. 4): summed over layers, averaged over
    discriminators.

    `fake[d][l]`, `real[d][l]`: output of layer l of discriminator d, [N, C, H, W]; the last layer (logits) is left out,
    and no gradient flows into `real`.
    """
    total = torch.zeros((), device=fake[0][0].device)
    for fakes, reals in zip(fake, real, strict=True):
        for f, r in zip(fakes[:-1], reals[:-1], strict=True):
            total = total + F.l1_loss(f.float(), r.detach().float())
    return total / len(fake)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over batch and dimensions as in SPADE's code, not averaged."""
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def gradient_penalty(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """The mean of (|gradient of D's logits by its input| - 1)^2 between real and fake (Gulrajani et al. 2017, eq. 3).

    `real`, `fake`: [N, C, H, W]; `mix`: how much of `real` is in the points between, uniform in [0, 1], one for each
    picture: [N]. In fp32, as it is to be differentiated once more; where D has a batch norm, the gradient of one
    picture's logits by another's pixels counts with the latter.
    """
    with torch.autocast(real.device.type, enabled=False):
        mix = mix[:, None, None, None]
        between = (mix * real + (1 - mix) * fake).detach().float().requires_grad_()
        logits = D(between)
        (slope,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
        return ((slope.flatten(1) + 1e-16).norm(2, dim=1) - 1).square().mean()
