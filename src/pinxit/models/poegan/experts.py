"""The product of experts: Gaussians, one of each input that is there, multiplied with the unit prior."""

from __future__ import annotations

import torch
from torch import Tensor

WIDEST = 10.0
"""What the logarithm of an expert's variance stays within, theta of `bounded`."""


def wide(x: Tensor) -> Tensor:
    """In float32, or as it is where that is wider."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def bounded(log_variance: Tensor, theta: float = WIDEST) -> Tensor:
    """`theta` tanh(x / theta): a network's number, of any size, as a logarithm of a variance within ±theta, so that no
    expert can silence all others."""
    return theta * torch.tanh(wide(log_variance) / theta)


def product(mean: Tensor, log_variance: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """The product of the unit Gaussian and of E experts, normalised: mean and log variance [N, ...], float32 or more.

    Its precision is the sum of the precisions, its mean theirs weighted by their precision (Huang et al. 2022, sec. 3;
    Williams et al. 2001). An expert that is not present has no factor: nothing that it says, inf and nan included, has
    an influence on the result or gets a gradient. With none present the result is the unit Gaussian.

    mean, log_variance [N, E, ...]; present bool [N, E]. Computed by logarithms of precisions, so that no finite log
    variance over- or underflows, and never in less than float32.
    """
    mean, log_variance = wide(mean), wide(log_variance)
    there = present.view(*present.shape, *[1] * (mean.ndim - 2))
    mean = torch.where(there, mean, 0.0)
    log_precision = torch.where(there, -log_variance, -torch.inf)
    # The prior's precision is 1.
    of_all = torch.cat([torch.zeros_like(log_precision[:, :1]), log_precision], dim=1)
    shares = of_all.softmax(dim=1)[:, 1:]
    return (shares * mean).sum(dim=1), -of_all.logsumexp(dim=1)


def divergence(mean: Tensor, log_variance: Tensor, present: Tensor) -> Tensor:
    """What each expert alone tells: KL(prior times that expert || prior) in nats, [N, E]; 0 where it is not present.

    Summed over channels, averaged over places, so that resolutions compare. Shapes as in `product`.
    """
    alone_mean, alone_log_variance = product(
        mean.flatten(0, 1)[:, None], log_variance.flatten(0, 1)[:, None], present.reshape(-1, 1)
    )
    nats = 0.5 * (alone_mean.square() + alone_log_variance.exp() - 1 - alone_log_variance)
    return nats.reshape(*nats.shape[:2], -1).mean(dim=2).sum(dim=1).view(present.shape)


def sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A draw by standard normal `noise` of the same shape; gradients flow to mean and variance."""
    return mean + (0.5 * log_variance).exp() * noise
