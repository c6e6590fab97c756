"""What the generator and the discriminator compute, and what they do not."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.models.poegan.config import MODALITIES, PRESETS, Network
from pinxit.models.poegan.discriminator import STATISTICS, Discriminator, statistics
from pinxit.models.poegan.encoders import LabelConv2d
from pinxit.models.poegan.network import Generator
from pinxit.nn.semantics import one_hot

TINY = dataclasses.replace(PRESETS["tiny"].network, inputs=MODALITIES, labels=5, unknown=True)
SUBSETS = list(product((False, True), repeat=4))

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def inputs_of(rows: int, seed: int = 0, network: Network = TINY) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    size = network.size
    return (
        torch.randint(0, network.labels + 1, (rows, *size), generator=generator),
        (torch.rand(rows, 1, *size, generator=generator) < 0.2).float(),
        torch.randn(rows, network.text_width, generator=generator),
        torch.rand(rows, 3, *size, generator=generator) * 2 - 1,
    )


def noise_of(G: Generator, rows: int, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, *shape, generator=generator) for shape in G.noise_shapes()]


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    return Generator(TINY)


@pytest.fixture
def D() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(TINY)


@pytest.mark.parametrize("labels", [3, 200])
def test_the_convolution_of_labels_is_that_of_their_one_hot_map(labels: int) -> None:
    """Values and gradients."""
    torch.manual_seed(0)
    conv = LabelConv2d(labels, 4).double()
    maps = torch.randint(0, labels, (2, 9, 7))
    maps[:, :4] = 1  # many windows alike
    plain = F.conv2d(one_hot(maps, labels).double(), conv.weight, conv.bias, padding=1)
    ours = conv(maps)
    assert torch.allclose(ours, plain, atol=1e-12)
    pull = torch.randn_like(plain)
    wanted = torch.autograd.grad((plain * pull).sum(), list(conv.parameters()))
    found = torch.autograd.grad((ours * pull).sum(), list(conv.parameters()))
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("subset", SUBSETS)
def test_what_is_absent_has_no_influence_at_all(G: Generator, subset: tuple[bool, ...]) -> None:
    """Bit for bit, whatever the absent inputs are; and every present one has some."""
    present, noise = torch.tensor([subset] * 2), noise_of(G, 2)
    given, other = inputs_of(2, seed=0), inputs_of(2, seed=9)
    picture = G(noise, *given, present)
    assert picture.shape == (2, 3, *TINY.size)
    assert picture.abs().max() <= 1
    mixed = [a if there else b for a, b, there in zip(given, other, subset, strict=True)]
    assert torch.equal(G(noise, *mixed, present), picture)  # type: ignore[arg-type]
    missing = [a if there else None for a, there in zip(given, subset, strict=True)]
    # Sums of as many numbers less: rounding.
    assert torch.allclose(G(noise, *missing, present), picture, atol=1e-5)  # type: ignore[arg-type]
    for i, there in enumerate(subset):
        if there:
            changed = [*given[:i], other[i], *given[i + 1 :]]
            assert not torch.equal(G(noise, *changed, present), picture)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_same_alone_as_in_a_batch(G: Generator, D: Discriminator) -> None:
    """Rows of different subsets beside each other."""
    G, D = G.double(), D.double()
    rows = 5
    present = torch.tensor([SUBSETS[i] for i in (0, 15, 5, 10, 8)])
    labels, *others = inputs_of(rows)
    sketch, text, style = (x.double() for x in others)
    given = (labels, sketch, text, style)
    noise = [x.double() for x in noise_of(G, rows)]
    pictures = G(noise, *given, present)
    judged = D(pictures, D.embedded(*given, present), present)
    for i in range(rows):
        row = slice(i, i + 1)
        one = (labels[row], sketch[row], text[row], style[row])
        alone = G([x[row] for x in noise], *one, present[row])
        assert torch.allclose(alone, pictures[row], atol=1e-12)
        of_one = D(pictures[row], D.embedded(*one, present[row]), present[row])
        for a, b in zip(of_one.logits, judged.logits, strict=True):
            assert torch.allclose(a, b[row], atol=1e-12)
        assert torch.allclose(of_one.features, judged.features[row], atol=1e-12)


@torch.no_grad()
def test_projections_vanish_where_an_input_is_absent(D: Discriminator) -> None:
    picture, given, other = inputs_of(3)[3], inputs_of(3), inputs_of(3, seed=5)
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    plain = D(picture, {}, nothing)
    assert [x.ndim for x in plain.logits] == [1, 3, 3]
    judged = D(picture, D.embedded(*given, nothing), nothing)
    for a, b in zip(judged.logits, plain.logits, strict=True):
        assert torch.equal(a, b)
    for i in range(4):
        present = nothing.clone()
        present[1, i] = True
        one = D(picture, D.embedded(*given, present), present)
        another = D(picture, D.embedded(*other, present), present)
        for a, b, c in zip(one.logits, another.logits, plain.logits, strict=True):
            assert torch.equal(a[[0, 2]], c[[0, 2]])
            assert not torch.equal(a[1], c[1])
            assert not torch.equal(a[1], b[1])


@torch.no_grad()
def test_the_discriminator_judges_two_batches_by_the_same_inputs(D: Discriminator) -> None:
    given, real, fake = inputs_of(3), inputs_of(3, seed=1)[3], inputs_of(3, seed=2)[3]
    present = torch.tensor([SUBSETS[i] for i in (15, 6, 9)])
    embedded = D.embedded(*given, present)
    both = D(torch.cat([real, fake]), embedded, present)
    for a, b, c in zip(both.logits, D(real, embedded, present).logits, D(fake, embedded, present).logits, strict=True):
        assert torch.allclose(a, torch.cat([b, c]), atol=1e-5)


def test_every_weight_has_a_gradient_when_nothing_is_present(G: Generator, D: Discriminator) -> None:
    """Else processes whose rows show different inputs could not average theirs."""
    present = torch.zeros(2, 4, dtype=torch.bool)
    G(noise_of(G, 2), *inputs_of(2), present).sum().backward()
    judged = D(inputs_of(2)[3], D.embedded(*inputs_of(2), present), present)
    (sum(x.sum() for x in judged.logits) + D.of_picture(judged.features).sum()).backward()
    assert all(p.grad is not None for p in G.parameters())
    assert [name for name, p in D.named_parameters() if p.grad is None] == ["of_text.weight", "of_text.bias"]


def test_a_network_of_some_inputs_has_no_weights_of_others() -> None:
    network = dataclasses.replace(TINY, inputs=("sketch", "style"))
    G, D = Generator(network), Discriminator(network)
    names = {name for name, _ in [*G.named_parameters(), *D.named_parameters()]}
    assert any("sketch" in name for name in names)
    assert not any("map" in name.split(".") or "text" in name for name in names)
    present = torch.ones(1, 4, dtype=torch.bool)
    G(noise_of(G, 1), *inputs_of(1), present)


def test_statistics_tell_colour_and_texture() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.full((1, 3, 32, 32), 0.3)
    fine = flat + 0.1 * torch.randn(1, 3, 32, 32, generator=generator)
    found = statistics(torch.cat([flat, fine]))
    assert found.shape == (2, STATISTICS)
    assert torch.allclose(found[0, :3], torch.tensor(0.3))
    assert found[0, 3:6].max() < 2e-3
    assert found[1, 3:6].min() > 0.08
    assert (found[1, 9:12] < found[1, 3:6] / 2).all()  # blurred


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_networks(preset: str) -> None:
    network = dataclasses.replace(PRESETS[preset].network, inputs=MODALITIES, labels=5)
    with torch.device("meta"):
        G, D = Generator(network), Discriminator(network)
    assert len(G.noise_shapes()) == len(network.widths) + 1
    assert G.noise_shapes()[-1][1:] == network.size
    assert len(D.unconditional) == network.d_scales + 1
