"""Shapes, label embedding, and what eval mode must not depend on; the numbers are held to account in tests/parity."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, nn

from pinxit.models.spade.config import UPSAMPLINGS, Network, Training
from pinxit.models.spade.network import Discriminator, Encoder, Generator, embed
from pinxit.nn.norm import SpectralConv2d

TINY = Network(labels=3, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5)


def ids(c: Network, n: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Patches of labels, as real maps have."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(c.labels + c.unknown, (n, 1, (height + 7) // 8, (width + 7) // 8), generator=generator)
    return nn.functional.interpolate(coarse.float(), (height, width), mode="nearest")[:, 0].long()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(network: nn.Module) -> nn.Module:
    """With the buffers of a network that has been trained a little, in eval mode."""
    for seed, (name, buffer) in enumerate(network.named_buffers()):
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * noise(*buffer.shape, seed=seed))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + noise(*buffer.shape, seed=seed).abs())
    for module in network.modules():
        if isinstance(module, SpectralConv2d):
            # A fresh estimate of sigma may be close to 0, and the weight divided by it huge.
            for _ in range(10):
                module.normalized_weight()
    return network.eval()


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("upsamplings", UPSAMPLINGS)
@pytest.mark.parametrize("norm", ["sync_batch", "batch", "instance"])
@pytest.mark.parametrize("vae", [True, False], ids=["vae", "no vae"])
def test_generator_paints_what_its_doublings_divide(upsamplings, norm, vae) -> None:
    step = 1 << UPSAMPLINGS[upsamplings]
    for kernel in (1, 3, 5):
        c = dataclasses.replace(
            TINY,
            upsamplings=upsamplings,
            norm=norm,
            vae=vae,
            kernel=kernel,
            size=(step, 2 * step),
            spectral=kernel != 5,
        )
        G = Generator(c)
        kernels = [m.kernel_size for n, m in G.named_modules() if n.endswith((".shared", ".gamma", ".beta"))]
        assert kernels == [(kernel, kernel)] * 3 * (6 + 3 * len(G.up))
        with torch.set_grad_enabled(kernel == 3):
            picture = G(ids(c, 1, step, 2 * step), None, noise(1, c.z_dim) if vae else None)
        assert picture.shape == (1, 3, step, 2 * step)
        assert picture.abs().max() <= 1
        if kernel == 3:
            picture.square().sum().backward()
            assert [n for n, p in G.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("vae", [True, False], ids=["vae", "no vae"])
@pytest.mark.parametrize("size", [(32, 96), (96, 32), (64, 64), (160, 32)])
def test_other_aspect_ratios_than_the_trained_one(size, vae) -> None:
    c = dataclasses.replace(TINY, vae=vae)
    picture = Generator(c)(ids(c, 2, *size), None, noise(2, 5) if vae else None)
    assert picture.shape == (2, 3, *size)


def test_widths_and_blocks_are_those_of_figure_11() -> None:
    for upsamplings, widths in [("normal", [32, 16, 8, 4]), ("more", [32, 16, 8, 4]), ("most", [32, 16, 8, 4, 2])]:
        G = Generator(dataclasses.replace(TINY, width=4, size=(128, 128), upsamplings=upsamplings))
        blocks = [G.head, *G.middle, *G.up]
        assert [block.conv_1.out_channels for block in blocks] == [64, 64, 64, *widths]  # type: ignore[union-attr]
        assert [block.learned for block in blocks] == [False] * 3 + [True] * len(widths)


def test_spectral_norm_is_on_the_blocks_alone() -> None:
    for spectral in (True, False):
        names = [
            n for n, _ in Generator(dataclasses.replace(TINY, spectral=spectral)).named_buffers() if n.endswith(".u")
        ]
        assert all(".conv_" in name for name in names)
        assert len(names) == (2 * 7 + 4 if spectral else 0)  # seven blocks, four of them with a learnt shortcut


def test_style_and_map_both_matter() -> None:
    G = stirred(Generator(TINY))
    a, b = ids(TINY, 1, 64, 64), ids(TINY, 1, 64, 64, seed=1)
    z, w = noise(1, 5), noise(1, 5, seed=1)
    pictures = [G(a, None, z), G(b, None, z), G(a, None, w)]
    assert all((x - y).abs().max() > 1e-3 for x, y in itertools.combinations(pictures, 2))


@pytest.mark.parametrize("norm", ["sync_batch", "batch", "instance"])
@pytest.mark.parametrize("vae", [True, False], ids=["vae", "no vae"])
def test_a_picture_does_not_depend_on_its_batch(norm, vae) -> None:
    c = dataclasses.replace(TINY, norm=norm, vae=vae, unknown=True, instances=True)
    G, E = stirred(Generator(c)), stirred(Encoder(c))
    labels, photo = ids(c, 3, 64, 96), noise(3, 3, 64, 96).tanh()
    z = E(photo)[0]
    together = G(labels, labels, z if vae else None)
    for i in range(3):
        torch.testing.assert_close(E(photo[i : i + 1])[0], z[i : i + 1], rtol=0, atol=1e-4)
        alone = G(labels[i : i + 1], labels[i : i + 1], z[i : i + 1] if vae else None)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-4)


def test_statistics_of_the_picture_at_test_are_an_option_of_the_network() -> None:
    c = dataclasses.replace(TINY, norm_at_test="batch")
    running, own = stirred(Generator(TINY)), stirred(Generator(c))
    own.load_state_dict(running.state_dict())
    labels, z = ids(c, 2, 64, 64), noise(2, 5)
    kept = {k: v.clone() for k, v in own.state_dict().items()}
    picture = own(labels, None, z)
    assert (picture - running(labels, None, z)).abs().max() > 1e-3
    torch.testing.assert_close(picture[:1], own(labels[:1], None, z[:1]), rtol=0, atol=1e-5)
    assert all(torch.equal(kept[k], v) for k, v in own.state_dict().items())


@pytest.mark.parametrize(("unknown", "instances"), [(False, False), (True, False), (False, True), (True, True)])
def test_embed_by_brute_force(unknown: bool, instances: bool) -> None:
    c = dataclasses.replace(TINY, unknown=unknown, instances=instances)
    labels = ids(c, 2, 16, 24)
    generator = torch.Generator().manual_seed(3)
    things = torch.randint(1000, 1003, (2, 16, 24), generator=generator)
    things[:, :, 12:] = 7  # a stretch without boundaries
    semantics = embed(labels, things if instances else None, c)
    assert semantics.shape == (2, 3 + unknown + instances, 16, 24)
    for n, y, x in itertools.product(range(2), range(16), range(24)):
        expected = [float(labels[n, y, x] == label) for label in range(3 + unknown)]
        if instances:
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(a, b) for a, b in around if 0 <= a < 16 and 0 <= b < 24]
            expected.append(float(any(things[n, a, b] != things[n, y, x] for a, b in inside)))
        assert semantics[n, :, y, x].tolist() == expected


def test_encoder_takes_photos_of_any_size() -> None:
    for norm in ("instance", "batch", "none"):
        E = Encoder(dataclasses.replace(TINY, encoder_norm=norm))
        for size in [(256, 256), (64, 96), (300, 100)]:
            mean, log_variance = E(noise(2, 3, *size))
            assert mean.shape == log_variance.shape == (2, 5)
    assert [conv.conv.out_channels for conv in E.layers] == [2, 4, 8, 16, 16, 16]  # type: ignore[union-attr]


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_discriminator_looks_at_halved_pictures_with_three_strided_layers(norm) -> None:
    t = Training(d_width=4, d_layers=4, d_scales=3, d_norm=norm)
    D = Discriminator(TINY, t)
    semantics, picture = embed(ids(TINY, 2, 64, 96), None, TINY), noise(2, 3, 64, 96)
    outputs = D(semantics, picture)
    # Kernel 4 and padding 2: a strided layer takes n to n // 2 + 1, the last two layers n to n + 1.
    shapes = [
        [(2, 4, 33, 49), (2, 8, 17, 25), (2, 16, 9, 13), (2, 32, 10, 14), (2, 1, 11, 15)],
        [(2, 4, 17, 25), (2, 8, 9, 13), (2, 16, 5, 7), (2, 32, 6, 8), (2, 1, 7, 9)],
        [(2, 4, 9, 13), (2, 8, 5, 7), (2, 16, 3, 4), (2, 32, 4, 5), (2, 1, 5, 6)],
    ]
    assert [[tuple(layer.shape) for layer in scale] for scale in outputs] == shapes
    # The border of a halved picture is the mean of what is there: a constant stays one.
    flat = torch.ones(1, 3, 8, 8)
    halved = []
    D.scales[1].register_forward_pre_hook(lambda _, args: halved.append(args[0]))
    D(torch.zeros(1, 3, 8, 8), flat)
    assert torch.equal(halved[0][:, 3:], torch.ones(1, 3, 4, 4))


def test_discriminators_widths_end_at_512() -> None:
    D = Discriminator(TINY, Training(d_width=256, d_layers=4, d_scales=1))
    assert [layer.conv.out_channels for layer in D.scales[0].layers] == [512, 512, 512]  # type: ignore[union-attr]
