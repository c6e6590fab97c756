"""Adam in one pass over memory against PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch

from pinxit.recipe import Adam

SHAPES = [(6, 5, 4, 4), (5,), (7, 3, 1, 1), (1, 5, 3, 3), ()]


def weights(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def descend(optimizer: torch.optim.Optimizer, ps: list[torch.nn.Parameter], steps: range) -> None:
    for i in steps:
        torch.manual_seed(i)
        for n, p in enumerate(ps):
            p.grad = None
            if (i + n) % 5:  # some have none
                (p * torch.randn(p.shape, dtype=p.dtype) * 10.0**-i).sum().backward()
        optimizer.param_groups[0]["lr"] = 1e-3 / i
        optimizer.step()


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.0, 0.9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("last", ["never", "before", "amid"])
def test_equal_to_pytorch(betas: tuple[float, float], dtype: torch.dtype, last: str) -> None:
    """Also where weights become channels-last amid a training, which the fused kernel alone does not notice."""
    ours, theirs = weights(dtype), weights(dtype)
    adam, plain = Adam(ours, lr=1e-3, betas=betas), torch.optim.Adam(theirs, lr=1e-3, betas=betas)
    for half in (1, 2):
        if last == ("before", "amid")[half - 1]:
            for p in ours:
                if p.dim() == 4:
                    p.data = p.data.contiguous(memory_format=torch.channels_last)
        for optimizer, ps in ((adam, ours), (plain, theirs)):
            descend(optimizer, ps, range(5 * half - 4, 5 * half + 1))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7 if dtype == torch.float32 else 1e-14)


def test_states_are_those_of_pytorch() -> None:
    """A run begun with the one goes on with the other."""
    ours, theirs = weights(torch.float32), weights(torch.float32)
    adam, plain = Adam(ours, lr=1e-3), torch.optim.Adam(theirs, lr=1e-3)
    descend(plain, theirs, range(1, 4))
    adam.load_state_dict(copy.deepcopy(plain.state_dict()))
    for p, q in zip(ours, theirs, strict=True):
        p.data.copy_(q.data)
    assert adam.state_dict().keys() == plain.state_dict().keys()
    descend(adam, ours, range(4, 7))
    descend(plain, theirs, range(4, 7))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7)
