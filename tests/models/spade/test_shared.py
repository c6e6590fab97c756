"""Training steps that share what is alike, against those of the plain networks."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from pinxit.data.labels import numbered
from pinxit.data.stream import LabelPhotos
from pinxit.models.spade import shared
from pinxit.models.spade.config import Network, Training
from pinxit.models.spade.network import embed
from pinxit.models.spade.recipe import SpadeRecipe
from pinxit.models.spade.shared import Bands, Maps, Sums

NETWORK = Network(labels=3, unknown=True, instances=True, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5)
TRAINING = Training(steps=10, batch=2, d_width=4, d_layers=3, perceptual=0, lr=1e-3, ema=0.9)


@pytest.fixture
def _in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(height: int = 64, width: int = 64, *, noisy: bool = False) -> LabelPhotos:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (2, height // 8, width // 16), generator=generator)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(16, 2)
    if noisy:
        labels = torch.randint(0, 4, labels.shape, generator=generator)
    photo = torch.rand(2, 3, height, width, generator=generator, dtype=torch.get_default_dtype()) * 2 - 1
    return LabelPhotos(labels, photo, labels // 2)


def twins(network: Network = NETWORK, **training) -> tuple[SpadeRecipe, SpadeRecipe]:
    """The same twice: plain, and sharing."""
    torch.manual_seed(0)
    plain = SpadeRecipe(network, dataclasses.replace(TRAINING, **training), numbered(3, (255,)), share=False)
    plain.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    sharing = copy.deepcopy(plain)
    sharing.share = True
    return plain, sharing


def require_alike(network: Network, batch: LabelPhotos, **training) -> None:
    plain, sharing = twins(network, **training)
    losses, others = plain.step(batch, 0), sharing.step(batch, 0)
    assert losses.keys() == others.keys()
    for name, loss in losses.items():
        # Features are matched in fp32, whatever they were computed in.
        torch.testing.assert_close(others[name], loss, rtol=1e-6 if name == "feature_matching" else 1e-11, atol=1e-11)
    for part in ("G", "D", "E"):
        module, other = getattr(plain, part), getattr(sharing, part)
        if module is None:
            continue
        grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        largest = max(grad.abs().max() for grad in grads.values())
        for name, p in other.named_parameters():
            error = (p.grad - grads[name]).abs().max() if name in grads else p.grad
            assert error is None or error <= 1e-10 * largest, f"{part}.{name}: {error}"
        buffers = dict(module.named_buffers())
        for name, buffer in other.named_buffers():
            # After an Adam step of G its weights differ where a gradient is rounding noise alone.
            torch.testing.assert_close(buffer, buffers[name], rtol=1e-6, atol=1e-6, msg=name)


CASES = {
    "as it comes": ({}, {}),
    "no instances, no style, instance norm, batch norm in D, three scales": (
        {"instances": False, "vae": False, "norm": "instance"},
        {"d_norm": "batch", "d_scales": 3, "feature_matching": 0},
    ),
    "kernel 5, no spectral norm": ({"kernel": 5, "spectral": False, "norm": "batch"}, {"d_norm": "none"}),
    "kernel 1, no unknown": ({"kernel": 1, "unknown": False}, {"adversarial": "ls", "d_spectral": False}),
    "more": ({"upsamplings": "more", "instances": False}, {"adversarial": "w", "d_scales": 1}),
}


@pytest.mark.usefixtures("_in_double")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["as it pays", "by windows", "by windows of windows", "noise"])
def test_a_step_is_that_of_the_plain_networks(case: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way.startswith("by"):
        monkeypatch.setattr(shared, "PAYS", 1.0)
        monkeypatch.setattr(shared, "FEW", 0)
        monkeypatch.setattr(shared, "DIRECT", 0.0 if way == "by windows" else 100.0)
        monkeypatch.setattr(shared, "BAND", 300)
    network, training = CASES[case]
    maps = batch(64, 128, noisy=way == "noise")
    if not network.get("unknown", True):
        maps = maps._replace(labels=maps.labels.clamp(max=2))
    require_alike(dataclasses.replace(NETWORK, **network), maps, **training)


def test_losses_in_single_precision_are_the_same_to_a_hundred_thousandth() -> None:
    plain, sharing = twins()
    losses, others = plain.step(batch(), 0), sharing.step(batch(), 0)
    for name, loss in losses.items():
        torch.testing.assert_close(others[name], loss, rtol=1e-5, atol=1e-6)


def test_autocast_is_honoured() -> None:
    plain, sharing = twins()
    with torch.autocast("cpu", torch.bfloat16):
        maps = Maps(batch().labels, batch().instances, NETWORK)
        z = torch.randn(2, 5)
        out = shared.paint(sharing.G, maps, z)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, plain.G(batch().labels, batch().instances, z), rtol=0, atol=0.05)
        losses, others = plain.step(batch(), 0), sharing.step(batch(), 0)
    for name, loss in losses.items():
        torch.testing.assert_close(others[name], loss, rtol=0.05, atol=0.02)
    assert all(p.dtype == torch.float32 for p in sharing.parameters())


def test_maps_of_noise_are_not_shared_and_no_more_than_looked_at() -> None:
    labels = batch(noisy=True).labels
    maps = Maps(labels, labels, dataclasses.replace(NETWORK, labels=182))
    assert not maps.at(64).shares
    maps = Maps(batch().labels, batch().labels, NETWORK)
    assert maps.at(64).shares
    assert maps.at(64) is maps.at(64)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of what torch.compile imports
def test_networks_that_were_compiled_and_those_on_a_gpu_are_the_plain_ones() -> None:
    plain, sharing = twins()
    assert sharing.shares
    assert not plain.shares
    sharing.G.compile()
    assert not sharing.shares
    assert not twins()[1].to("meta").shares


def test_running_statistics_of_a_block_that_are_not_alike_stay_so() -> None:
    plain, sharing = twins()
    for recipe in (plain, sharing):
        for name, buffer in recipe.G.named_buffers():
            if "norm_s" in name and "running" in name:
                buffer.add_(0.5)
        recipe.paint(batch(), 0, 0, Maps(batch().labels, batch().instances, NETWORK) if recipe.share else None)
    theirs = dict(plain.G.named_buffers())
    for name, buffer in sharing.G.named_buffers():
        torch.testing.assert_close(buffer, theirs[name], rtol=1e-5, atol=1e-6, msg=name)


def test_sums_are_products_with_a_matrix_of_ones() -> None:
    torch.manual_seed(0)
    rows = torch.tensor([0, 2, 2, 4, 1, 0])
    sums = Sums(rows, torch.tensor([0, 3, 3, 4, 6]), 5)  # the second of nothing
    matrix = torch.zeros(4, 5)
    for b, row in [(0, 0), (0, 2), (0, 2), (2, 4), (3, 1), (3, 0)]:
        matrix[b, row] += 1
    table, grad = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3)
    torch.testing.assert_close(sums(table), matrix @ table)
    torch.testing.assert_close(sums.transposed.of(grad), matrix.t() @ grad)
    torch.testing.assert_close(torch.autograd.grad(sums(table), table, grad)[0], matrix.t() @ grad)


@pytest.mark.parametrize(("lines", "width", "band"), [(6, 4, 8), (6, 4, 16), (10, 6, 1000), (7, 5, 1)])
def test_bands_together_sum_over_all_pixels_of_a_window(
    lines: int, width: int, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "BAND", band)
    torch.manual_seed(0)
    index = torch.randint(0, 5, (lines * width,))
    bands = Bands(index, 6, lines, width)  # no pixel has the last window
    values = torch.randn(lines * width, 3)
    collected = values.new_empty(bands.length, 3)
    for i, part in enumerate(bands.slices):
        bands.collect(i, values[part], collected)
    torch.testing.assert_close(bands.over(collected), torch.zeros(6, 3).index_add(0, index, values))


@pytest.mark.parametrize("instances", [True, False])
@pytest.mark.parametrize("size", [(16, 24), (10, 14), (7, 9)])
def test_a_discriminators_view_of_the_map_by_brute_force(
    instances: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    c = dataclasses.replace(NETWORK, instances=instances)
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, *size))
    semantics = embed(labels, labels, c)
    maps = Maps(labels, labels, c)
    torch.testing.assert_close(shared.semantics_of(maps.codes, c), semantics)
    halved = F.avg_pool2d(semantics, 3, stride=2, padding=1, count_include_pad=False)
    assert torch.equal(shared.pooled_semantics(maps.codes, c), halved)
    weight, bias = torch.randn(5, semantics.shape[1], 4, 4), torch.randn(5)
    expected = F.conv2d(semantics, weight, bias, stride=2, padding=2)
    for few in (0, 100):
        monkeypatch.setattr(shared, "FEW", few)
        torch.testing.assert_close(shared.of_codes(maps.codes, weight, bias, c), expected, rtol=1e-5, atol=1e-5)


def test_one_channel_out_of_a_convolution_by_brute_force() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(6, 1, 4, padding=2)
    x = torch.randn(2, 6, 7, 9)
    torch.testing.assert_close(shared.logits_of(conv, x), conv(x), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_in_double")
def test_a_doubled_picture_need_not_be_made() -> None:
    plain, _ = twins()
    level = Maps(batch().labels, batch().instances, NETWORK).at(64)
    assert level.shares
    unit = plain.G.head.norm_0
    small = torch.randn(2, unit.gamma.out_channels, 32, 32).requires_grad_()
    large = F.interpolate(small.detach(), scale_factor=2).requires_grad_()
    (out,), (expected,) = shared.modulated([unit], small, level, doubled=True), shared.modulated([unit], large, level)
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    (grad,), (theirs,) = (torch.autograd.grad(y, x, weights) for y, x in [(out, small), (expected, large)])
    torch.testing.assert_close(grad, 4 * F.avg_pool2d(theirs, 2))
