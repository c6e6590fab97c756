from __future__ import annotations

import pytest
import torch
from torch import nn

from pinxit.nn.ema import EMA


def constant(value: float) -> nn.Module:
    """A network whose every weight and running statistic is `value`."""
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(value)
    return network


def test_the_decay_warms_up_to_its_own() -> None:
    ema = EMA(constant(0), decay=0.5)
    average, was = next(ema.average.parameters()), 0.0
    # (1 + step) / (10 + step) is 0.1, 2/11, ... and passes 0.5 at step 8.
    for step, decay in [(0, 1 / 10), (1, 2 / 11), (7, 8 / 17), (8, 0.5), (1000, 0.5)]:
        ema.update(constant(step + 1), step)
        was = decay * was + (1 - decay) * (step + 1)
        torch.testing.assert_close(average, torch.full_like(average, was))


def test_buffers_are_copied_as_they_are() -> None:
    ema = EMA(constant(0), decay=0.999)
    ema.update(constant(8), step=100_000)
    for name, value in ema.average.state_dict().items():
        is_buffer = "running" in name or "num_batches" in name
        assert value.flatten()[0].item() == pytest.approx(8 if is_buffer else 0.008)


def test_the_average_is_apart_in_eval_mode_and_saved_with_its_holder() -> None:
    network = constant(1)
    ema = EMA(network, decay=0.9)
    with torch.no_grad():
        next(network.parameters()).fill_(5)
    assert next(ema.average.parameters()).max() == 1
    assert not ema.average.training
    assert not any(p.requires_grad for p in ema.parameters())
    assert set(ema.state_dict()) == {f"average.{k}" for k in network.state_dict()}
