"""The contract: one update, weights held still, schedules and noise as functions of the step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pinxit.recipe
from pinxit.recipe import frozen, linear_decay, set_rate, state_on_cpu, step_noise, update


def test_update_is_one_plain_descent_in_a_single_process() -> None:
    weight, aside = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([5.0]))
    optimizer = torch.optim.SGD([weight, aside], lr=0.1)
    weight.grad = torch.full((2,), 1000.0)  # left over: must be dropped, not added to
    update(optimizer, (weight.square() * 3).sum())
    torch.testing.assert_close(weight.data, torch.tensor([1 - 0.1 * 6, 2 - 0.1 * 12]))
    assert aside.item() == 5  # it had no part in the loss


def test_update_averages_gradients_over_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranks: the other one's gradient arrives through `all_reduce`, all tensors in one message."""
    messages = []

    def all_reduce(flat: torch.Tensor) -> None:
        messages.append(flat.clone())
        flat += torch.arange(6.0)  # what the other rank has

    monkeypatch.setattr(pinxit.recipe, "world_size", lambda: 2)
    monkeypatch.setattr(pinxit.recipe.dist, "all_reduce", all_reduce)
    a, b = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    update(torch.optim.SGD([a, b], lr=1.0), a.sum() + 3 * b.sum())
    assert [m.tolist() for m in messages] == [[1, 1, 1, 1, 3, 3]]
    torch.testing.assert_close(a.data, -torch.tensor([[1.0, 2], [3, 4]]) / 2)
    torch.testing.assert_close(b.data, -torch.tensor([7.0, 8]) / 2)


def test_frozen_weights_get_no_gradient_while_gradients_flow_through() -> None:
    D, G = nn.Linear(2, 1), nn.Linear(2, 2)
    with frozen(D):
        D(G(torch.ones(1, 2))).sum().backward()
    assert all(p.grad is None for p in D.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in G.parameters())
    assert all(p.requires_grad for p in D.parameters())


def test_frozen_restores_after_an_error_and_wakes_only_what_it_put_to_sleep() -> None:
    D = nn.Linear(2, 1)
    D.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="amid"), frozen(D):
        raise RuntimeError("amid")
    assert D.weight.requires_grad
    assert not D.bias.requires_grad


@pytest.mark.parametrize(
    ("step", "start", "end", "scale"),
    [
        (0, 10, 20, 1.0),
        (9, 10, 20, 1.0),
        (10, 10, 20, 1.0),
        (15, 10, 20, 0.5),
        (19, 10, 20, 0.1),
        (20, 10, 20, 0.0),
        (99, 10, 20, 0.0),
        (0, 0, 4, 1.0),
        (3, 0, 4, 0.25),
        (10**6, -1, 20, 1.0),  # never
        (5, 5, 5, 0.0),  # no room for a slope
    ],
)
def test_linear_decay(step: int, start: int, end: int, scale: float) -> None:
    assert linear_decay(step, start, end) == pytest.approx(scale)


def test_set_rate_reaches_every_group() -> None:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))]}, {"params": [nn.Parameter(torch.ones(1))]}])
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_noise_depends_on_seed_step_and_draw_alone() -> None:
    def draw(seed: int = 1, step: int = 2, number: int = 0) -> torch.Tensor:
        return step_noise(seed, step, number, 3, 4, device="cpu")

    first = draw()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(draw(), first)
    assert torch.equal(torch.get_rng_state(), state)
    others = [draw(seed=2), draw(step=3), draw(number=1), draw(seed=-1), draw(step=10**9)]
    assert all(not torch.equal(a, b) for i, a in enumerate([first, *others]) for b in others[i:])
    many = step_noise(0, 0, 0, 5000, device="cpu")
    assert many.mean().abs() < 0.05
    assert many.std() == pytest.approx(1, abs=0.05)


def test_the_rows_of_two_ranks_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = step_noise(7, 5, 1, 4, 3, 2, device="cpu")
    monkeypatch.setattr(pinxit.recipe, "world_size", lambda: 2)
    halves = []
    for rank in (0, 1):
        monkeypatch.setattr(pinxit.recipe, "rank", lambda rank=rank: rank)
        halves.append(step_noise(7, 5, 1, 2, 3, 2, device="cpu"))
    assert torch.equal(torch.cat(halves), whole)


def test_state_on_cpu_is_contiguous_and_apart_from_the_graph() -> None:
    conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    state = state_on_cpu(conv.state_dict(keep_vars=True))
    assert all(v.is_contiguous() and not v.requires_grad for v in state.values())
    assert torch.equal(state["weight"], conv.weight)


def test_under_autocast_a_later_forward_sees_the_update() -> None:
    """Autocast keeps its bf16 copies of weights while it lasts, which is a whole step."""
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(torch.ones(1, 1))
        update(torch.optim.SGD(layer.parameters(), lr=0.5), before.sum())
        assert layer(torch.ones(1, 1)).item() == 0.5
