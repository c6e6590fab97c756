"""The ResNet generator's places and shapes; its numbers are held to account in tests/parity."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from pinxit.nn.dropout import Dropout
from pinxit.nn.resnet import Found, Norm, ResnetGenerator, resnet_of

NORMS: tuple[Norm, ...] = ("batch", "instance", "none")


@pytest.mark.parametrize(("norm", "dropout"), list(itertools.product(NORMS, (0.0, 0.5))))
def test_names_and_shapes_tell_the_network(norm: Norm, dropout: float) -> None:
    state = ResnetGenerator(2, 5, 3, 4, norm, dropout).state_dict()
    assert resnet_of(state) == Found(2, 5, 3, 4, norm, dropout > 0)


def test_other_networks_are_told_apart() -> None:
    assert resnet_of({}) is None
    assert resnet_of(ResnetGenerator(3, 3, 2, 1, downsamplings=3).state_dict()) is None
    assert resnet_of(nn.Sequential(nn.Conv2d(3, 3, 1)).state_dict()) is None


@pytest.mark.parametrize("norm", NORMS)
def test_biases_are_where_the_official_code_has_them(norm: Norm) -> None:
    G = ResnetGenerator(3, 3, 2, 1, norm)
    convolutions = [m for m in G.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.bias is not None for m in convolutions] == [norm == "instance"] * (len(convolutions) - 1) + [True]


@pytest.mark.parametrize("downsamplings", [1, 2, 3])
def test_sizes(downsamplings: int) -> None:
    G = ResnetGenerator(1, 2, 2, 1, "instance", downsamplings=downsamplings)
    assert G.multiple == 1 << downsamplings
    least = 2 * G.multiple
    with torch.no_grad():
        assert G(torch.zeros(1, 1, max(4, least), max(4, least) + G.multiple)).shape == (
            1,
            2,
            max(4, least),
            max(4, least) + G.multiple,
        )


def test_dropout_is_in_each_block_and_may_stay_on() -> None:
    G = ResnetGenerator(3, 3, 2, 3, "instance", 0.5, dropout_at_test=True).eval()
    assert [m.at_test for m in G.modules() if isinstance(m, Dropout)] == [True] * 3
    x = torch.rand(1, 3, 16, 16)
    assert not torch.equal(G(x), G(x))
    quiet = ResnetGenerator(3, 3, 2, 3, "instance", 0.5).eval()
    assert torch.equal(quiet(x), quiet(x))


def test_the_picture_s_statistics_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    G = ResnetGenerator(3, 3, 2, 1, "batch", picture_at_test=True).eval()
    x = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(G(x)[1:2], G(x[1:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(G(x[:1]), G.train()(x[:1]), rtol=0, atol=1e-5)
