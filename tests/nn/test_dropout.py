"""Which values are dropped, and by whose draw."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pinxit.nn.dropout import Dropout, masks_of


def drawn(network: nn.Module, x: Tensor, seed: int) -> Tensor:
    with masks_of(network, torch.Generator().manual_seed(seed)):
        return network(x)


def test_half_is_dropped_and_the_rest_doubled() -> None:
    layer, x = Dropout(), torch.full((4, 50, 5, 5), 3.0)
    y = drawn(layer, x, 0)
    assert set(y.unique().tolist()) == {0.0, 6.0}
    assert y.mean().item() == pytest.approx(3, rel=0.05)
    assert drawn(Dropout(0.2), x, 0).mean().item() == pytest.approx(3, rel=0.05)
    assert torch.equal(drawn(Dropout(0.0), x, 0), x)


def test_masks_are_a_function_of_the_generator_and_the_calls_alone() -> None:
    network, x = nn.Sequential(Dropout(), Dropout()), torch.rand(2, 3, 4, 4) + 1
    before = torch.get_rng_state()
    first = drawn(network, x, 1)
    torch.rand(7)
    assert torch.equal(first, drawn(network, x, 1))
    assert not torch.equal(first, drawn(network, x, 2))
    with masks_of(network, torch.Generator().manual_seed(1)):
        assert not torch.equal(network(x), network(x))
    torch.set_rng_state(before)
    drawn(network, x, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_it_ends_with_the_block_also_on_an_error() -> None:
    layer = Dropout()
    with pytest.raises(ZeroDivisionError), masks_of(layer, torch.Generator()):
        raise ZeroDivisionError
    assert layer.generator is None
    torch.manual_seed(0)
    a = layer(torch.ones(100))
    torch.manual_seed(0)
    assert torch.equal(a, layer(torch.ones(100)))


def test_in_eval_mode_it_is_off_unless_asked_for() -> None:
    x = torch.ones(2, 8, 4, 4)
    assert Dropout().eval()(x) is x
    noisy = Dropout(at_test=True).eval()
    assert not torch.equal(drawn(noisy, x, 0), x)
    assert noisy(x).min() == 0


def test_ranks_share_the_mask_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Dropout(), torch.rand(4, 3, 4, 4)
    whole = drawn(layer, x, 5)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        parts.append(drawn(layer, x[2 * rank : 2 * rank + 2], 5))
    assert torch.equal(torch.cat(parts), whole)


def test_gradients_pass_what_was_kept() -> None:
    layer, x = Dropout(), torch.ones(2, 8, 4, 4, requires_grad=True)
    y = drawn(layer, x, 0)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
