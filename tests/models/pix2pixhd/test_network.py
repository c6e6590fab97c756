"""Shapes, growth and memory; the numbers are held to account in tests/parity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.models.pix2pixhd.config import PRESETS, Network, Training
from pinxit.models.pix2pixhd.forecast import forecast, step_cost
from pinxit.models.pix2pixhd.network import Discriminator, Encoder, Generator, embed, parts, semantic_channels
from pinxit.models.pix2pixhd.recipe import initialize

NETWORK = Network(
    labels=3, size=(32, 48), width=2, downsamplings=2, blocks=2, enhancers=1, enhancer_blocks=1, output=Kind()
)


def semantics(c: Network, height: int = 32, width: int = 48, rows: int = 1) -> Tensor:
    torch.manual_seed(1)
    return embed(torch.randint(0, c.labels, (rows, height, width)), torch.randint(0, 3, (rows, height, width)), c)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("enhancers", [0, 1, 2])
@pytest.mark.parametrize("change", [{}, {"instances": True}, {"source": "pictures", "input": Kind(5)}])
def test_pictures_have_the_size_of_what_goes_in(norm, enhancers: int, change) -> None:
    c = dataclasses.replace(NETWORK, norm=norm, enhancers=enhancers, output=Kind(4), **change)
    x = torch.rand(2, semantic_channels(c), 32, 48)
    made = Generator(c)(x)
    assert made.shape == (2, 4, 32, 48)
    assert made.abs().max() <= 1
    E = Encoder(dataclasses.replace(c, features="instance", feature_channels=6, encoder_downsamplings=3))
    assert E(made).shape == (2, 6, 32, 48)


def test_the_first_grows_into_the_whole() -> None:
    c = dataclasses.replace(NETWORK, enhancers=2)
    torch.manual_seed(0)
    G = Generator(c, 0)
    whole = Generator(c)
    inner = {k: v.clone() for k, v in G.state_dict().items() if k.startswith("model.")}
    for level, factor in ((0, 4), (1, 2), (2, 1)):
        assert G.level == level
        assert G(semantics(c, 32 // factor, 48 // factor)).shape == (1, 3, 32 // factor, 48 // factor)
        if level < 2:
            G.grow()
    assert {k: v.shape for k, v in G.state_dict().items()} == {k: v.shape for k, v in whole.state_dict().items()}
    assert all(torch.equal(G.state_dict()[k], v) for k, v in inner.items())


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_checkpointing_changes_no_gradient(enhancers: int) -> None:
    c = dataclasses.replace(NETWORK, enhancers=enhancers)
    torch.manual_seed(0)
    G = Generator(c)
    x = semantics(c)
    made = []
    for G.checkpointing in (False, True):
        picture = G(x)
        picture.square().sum().backward()
        made.append((picture.detach(), [p.grad for p in G.parameters()]))
        G.zero_grad(set_to_none=True)
    assert torch.equal(made[0][0], made[1][0])
    assert all(
        a is not None and torch.equal(a, b) for a, b in zip(made[0][1], made[1][1], strict=True) if b is not None
    )


def test_parts_are_all_of_it() -> None:
    G = Generator(NETWORK)
    for layers in (G.model, G.enhancers[0].get_submodule("down"), G.enhancers[0].get_submodule("up"), G.head):
        assert isinstance(layers, nn.Sequential)
        assert [layer for part in parts(layers) for layer in part] == list(layers)


@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 3, 4])
def test_discriminators_halve_from_one_to_the_next(scales: int, layers: int) -> None:
    outputs = Discriminator(NETWORK, Training(d_width=2, d_layers=layers, d_scales=scales))(torch.rand(2, 6, 64, 96))
    assert [len(scale) for scale in outputs] == [layers + 2] * scales
    first = [scale[0].shape[2:] for scale in outputs]
    assert first == [(64 // 2 ** (i + 1) + 1, 96 // 2 ** (i + 1) + 1) for i in range(scales)]
    assert all(scale[-1].shape[1] == 1 for scale in outputs)


def test_initial_weights_are_the_official_codes() -> None:
    torch.manual_seed(0)
    D = Discriminator(dataclasses.replace(NETWORK, norm="batch"), Training(d_width=32))
    biases = [p.clone() for k, p in D.named_parameters() if k.endswith("0.bias")]
    initialize(D)
    for module in D.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(biases, (p for k, p in D.named_parameters() if k.endswith("0.bias")), strict=True)
    )


def radius(network: Callable[[Tensor], Tensor], channels: int, side: int, at: int) -> int:
    """How far from a pixel of the output the input still changes it."""
    x = torch.rand(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    network(x)[0, :, at, at].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    return max(at - int(rows.min()), int(rows.max()) - at)


@pytest.mark.parametrize(
    ("enhancers", "blocks", "downsamplings"), [(0, 1, 1), (0, 2, 2), (1, 1, 1), (1, 1, 2), (2, 1, 1)]
)
def test_the_margin_is_what_a_pixel_sees(enhancers: int, blocks: int, downsamplings: int) -> None:
    from pinxit.modelfile import ModelFile
    from pinxit.models.pix2pixhd.generate import Model

    c = dataclasses.replace(NETWORK, enhancers=enhancers, blocks=blocks, downsamplings=downsamplings)
    G = Generator(c)
    tensors = {f"G.{k}": v for k, v in G.state_dict().items()}
    margin = Model(ModelFile("pix2pixhd", dataclasses.asdict(c), tensors)).margin
    for name, module in list(G.named_modules()):
        if isinstance(module, nn.InstanceNorm2d | nn.ReLU):
            parent, _, leaf = name.rpartition(".")
            setattr(G.get_submodule(parent), leaf, nn.Identity())
    side = 256
    seen = max(radius(G.double(), 3, side, 120 + i) for i in range(c.multiple))
    assert margin * 0.75 <= seen <= margin


def test_the_forecast_counts_what_the_paper_needed() -> None:
    """24 GB for 2048x1024, as the authors say of their code; about two thirds with checkpointing."""
    paper = PRESETS["label2city_1024"]
    _, plain = step_cost(paper.network, paper.training, 1)
    operations, less = step_cost(paper.network, dataclasses.replace(paper.training, checkpointing=True), 1)
    assert 12 * 2**30 < plain < 24 * 2**30
    assert less < 0.7 * plain
    coarse, _ = step_cost(paper.network, paper.training, 0)
    assert coarse < operations / 2


def test_the_forecast_proposes_the_small_preset() -> None:
    G = Generator(NETWORK, 0)
    large = dataclasses.replace(NETWORK, size=(512, 1024))
    told = forecast(large, Training(steps=10**6, perceptual=0), G)
    assert set(told.others) == {"cpu"}
    assert told.others["cpu"][0] < told.seconds
    assert G.training
    assert not forecast(NETWORK, Training(steps=1, perceptual=0, checkpointing=True), G).others
