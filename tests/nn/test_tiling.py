"""Windows against the whole picture: what covers what, and that nothing of the result tells where they were."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pinxit.nn.dropout import Dropout
from pinxit.nn.norm import BatchNorm2d
from pinxit.nn.tiling import Axis, Statistics, Tiling, plan, reflected, smallest_exact_tile, translate, work


class Block(nn.Module):
    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        conv = [nn.Conv2d(channels, channels, 3) for _ in range(2)]
        pad = nn.ReflectionPad2d(1)
        self.body = nn.Sequential(pad, conv[0], norm(channels), nn.ReLU(), pad, conv[1], norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNet(nn.Module):
    """As CycleGAN's generator: reflection, strides, blocks, transposed convolutions; ever a norm between. Its norms
    are registered in another order than that in which they are called."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.InstanceNorm2d, blocks: int = 2, width: int = 4) -> None:
        super().__init__()
        self.last = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 2, 7), nn.Tanh())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=1),
            norm(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1),
            norm(width),
            nn.ReLU(),
        )
        self.first = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), norm(width), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, 2, 1), norm(2 * width), nn.ReLU()),  # padded with zeros
            *(nn.Conv2d(2 * width, 4 * width, 3, 2, 1), norm(4 * width), nn.ReLU()),
        )
        self.blocks = nn.Sequential(*(Block(4 * width, norm) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.up(self.blocks(self.first(x))))


MULTIPLE, MARGIN = 4, 32
"""Of `ResNet` with two blocks; `test_the_margin_of_these_tests` holds it to that."""


class UNet(nn.Module):
    """Down to one pixel of 32, so that a pixel hangs on those 90 around."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(3 if i == 0 else width, width, 4, 2, 1) for i in range(5))
        self.up = nn.ModuleList(nn.ConvTranspose2d(width * (1 + (i > 0)), width, 4, 2, 1) for i in range(5))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(5))
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for layer in self.down:
            kept.append(x := F.leaky_relu(layer(x), 0.2))
        x = kept.pop()
        for i, (layer, norm) in enumerate(zip(self.up, self.norms, strict=True)):
            x = F.relu(norm(layer(x if i == 0 else torch.cat([x, kept.pop()], 1))))
        return torch.tanh(self.out(x))


def norms_of(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d | nn.BatchNorm2d | BatchNorm2d)]


def made(network: nn.Module) -> nn.Module:
    """With weights that keep signals alive, and norms that scale and shift."""
    generator = torch.Generator().manual_seed(0)
    for name, p in network.named_parameters():
        with torch.no_grad():
            fan = p[0].numel() if p.ndim == 4 else 1
            p.normal_(0, 1.4 / math.sqrt(fan) if p.ndim == 4 else 0.3, generator=generator)
            if p.ndim == 1 and name.endswith("weight"):
                p.add_(1)
    return network.eval().requires_grad_(False)


def uneven(height: int, width: int, channels: int = 3, noise: float = 0.3) -> Tensor:
    """A picture whose parts differ in brightness and in texture: the worst for statistics by window."""
    generator = torch.Generator().manual_seed(1)
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    grain = torch.randn(channels, height, width, generator=generator) * noise * (x * y + 0.05)
    light = torch.stack([torch.cos(3 * y + 2 * x + c) for c in range(channels)])
    return (0.8 * light + grain).clamp(-1, 1)


def windowed(network: nn.Module, picture: Tensor, tiling: Tiling, **options: object) -> Tensor:
    rows: list[Tensor] = []
    read = lambda y0, y1, x0, x1: picture[:, y0:y1, x0:x1]  # noqa: E731
    translate(network, read, rows.append, tiling, norms=norms_of(network), **options)  # pyright: ignore[reportArgumentType]
    return torch.cat(rows, 1)


def whole(network: nn.Module, picture: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(picture[None])[0]


def affine(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def picture_batch(channels: int) -> nn.Module:
    return BatchNorm2d(channels, affine=True, sync=False, picture_at_test=True)


def none(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)  # by its running statistics, so none of the norms that are to be shared


@settings(deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(2, 20), st.integers(0, 40), st.sampled_from([1, 2, 4, 8]),
    st.none() | st.integers(0, 90), st.booleans(),
)  # fmt: skip
def test_the_windows_cover_the_picture(
    height: int, width: int, tile: int, margin: int, multiple: int, overlap: int | None, fade: bool
) -> None:
    height, width, tile = height * multiple, width * multiple, tile * multiple
    tiling = plan(height, width, tile=tile, multiple=multiple, margin=margin, overlap=overlap, fade=fade)
    context = -(-margin // multiple) * multiple
    for length, axes in ((height, (tiling.rows, tiling.sampled[0])), (width, (tiling.columns, tiling.sampled[1]))):
        for axis in axes:
            translated = axis in (tiling.rows, tiling.columns)
            assert (axis.starts[0], axis.starts[-1] + axis.size) == (0, length)
            assert axis.size == min(axis.size, tile)
            assert all(edge % multiple == 0 for edge in (axis.size, *axis.starts, *axis.cuts))
            assert axis.cuts[0] == 0
            assert axis.cuts[-1] == length
            assert list(axis.cuts) == sorted(set(axis.cuts))
            total = torch.zeros(length)
            for i, start in enumerate(axis.starts):
                low, high = axis.reach(i)
                assert start <= low < high <= start + axis.size
                total[low:high] += axis.weights(i)
                if tiling.exact and translated:
                    trim = 0 if fade else context
                    assert i == 0 or low - start >= trim
                    assert i + 1 == len(axis) or start + axis.size - high >= trim
                    assert i == 0 or axis.cuts[i] - start >= context
                    assert i + 1 == len(axis) or start + axis.size - axis.cuts[i + 1] >= context
            torch.testing.assert_close(total, torch.ones(length))
    if tile >= smallest_exact_tile(multiple, margin) and overlap is None:
        assert tiling.exact


def test_sizes_that_are_no_multiples_are_a_defect() -> None:
    with pytest.raises(ValueError, match="30x32 in windows of 16 is not in multiples of 4"):
        plan(30, 32, tile=16, multiple=4, margin=1)
    with pytest.raises(ValueError, match="in windows of 4 "):
        plan(32, 32, tile=4, multiple=4, margin=1)


@given(st.integers(1, 9), st.integers(0, 40))
def test_reflection_as_numpy_pads(length: int, more: int) -> None:
    want = np.pad(np.arange(length), (0, more), "reflect")
    assert (reflected(0, length + more, length) == want).all()
    assert (reflected(length, length + more, length) == want[length:]).all()


def test_the_margin_of_these_tests() -> None:
    network = made(ResNet(none))
    picture = uneven(128, 128).requires_grad_()
    reached = []
    for at in range(60, 64):
        (gradient,) = torch.autograd.grad(network(picture[None])[0, :, at, at].sum(), picture)
        seen = gradient.abs().sum(0).nonzero()
        reached += [int((seen - at).abs().max())]
    assert MARGIN - MULTIPLE <= max(reached) <= MARGIN


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, affine, picture_batch])
@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [
        (320, 256, 128, None),
        (132, 420, 128, None),  # two rows, of which the second is all but the first
        (212, 300, 160, None),
        (300, 100, 136, 72),  # higher than wide, and a ramp of 8
        (160, 160, 100, 64),
    ],
)
def test_exact_windows_give_the_whole_picture(
    norm: Callable[[int], nn.Module], height: int, width: int, tile: int, overlap: int | None
) -> None:
    network, picture = made(ResNet(norm)), uneven(height, width)
    tiling = plan(height, width, tile=tile, multiple=MULTIPLE, margin=MARGIN, overlap=overlap)
    assert tiling.exact
    assert len(tiling) > 1
    want, got = whole(network, picture), windowed(network, picture, tiling, statistics="exact")
    assert got.shape == want.shape
    assert (got - want).abs().max() < 2e-5
    # And by windows of their own it is quite another picture.
    assert (windowed(network, picture, tiling, statistics="tile") - want).abs().max() > 0.1


def test_more_multiples_than_layers_need_do_no_harm() -> None:
    network, picture = made(ResNet(affine)), uneven(256, 320)
    tiling = plan(256, 320, tile=192, multiple=32, margin=MARGIN)
    got = windowed(network, picture, tiling, statistics="exact")
    assert (got - whole(network, picture)).abs().max() < 2e-5


def test_less_overlap_than_the_margin_is_not_exact() -> None:
    network, picture = made(ResNet(affine)), uneven(256, 256)
    tiling = plan(256, 256, tile=128, multiple=MULTIPLE, margin=MARGIN, overlap=16)
    assert not tiling.exact
    error = (windowed(network, picture, tiling, statistics="exact") - whole(network, picture)).abs()
    assert error.max() > 1e-3
    assert error.mean() < 0.05


def test_without_norms_of_the_picture_windows_are_exact_in_one_pass() -> None:
    network, picture = made(ResNet(none)), uneven(256, 200)
    tiling = plan(256, 200, tile=128, multiple=MULTIPLE, margin=MARGIN)
    rows: list[Tensor] = []
    told: list[float] = []
    translate(network, lambda y0, y1, x0, x1: picture[:, y0:y1, x0:x1], rows.append, tiling, advance=told.append)
    assert (torch.cat(rows, 1) - whole(network, picture)).abs().max() < 2e-5
    assert sum(told) == work(tiling, [], "exact") == len(tiling)


def calm() -> nn.Module:
    """Whose last layer blurs: random ones give noise, in which no seam would be seen."""
    network = made(ResNet(affine))
    weight = network.last[1].weight  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    weight.abs_().mul_(weight.sign()[:, :, 3:4, 3:4]).div_(weight.abs().sum((1, 2, 3), keepdim=True))
    return network


@pytest.mark.parametrize(("height", "width", "tile"), [(320, 320, 256), (256, 1024, 256), (704, 704, 384)])
def test_a_picture_that_is_sampled_in_one_batch_has_its_exact_statistics(height: int, width: int, tile: int) -> None:
    network, picture = made(ResNet(affine)), uneven(height, width)
    tiling = plan(height, width, tile=tile, multiple=MULTIPLE, margin=MARGIN)
    got = windowed(network, picture, tiling, statistics="sampled")
    assert (got - whole(network, picture)).abs().max() < 2e-5


def test_sampled_statistics_are_near_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in several batches, and some of it; with a margin that is more than what is left out."""
    network, picture = calm(), uneven(1024, 1280)
    tiling = plan(1024, 1280, tile=256, multiple=MULTIPLE, margin=60)
    want = whole(network, picture)

    def off(statistics: Statistics) -> float:
        return float((windowed(network, picture, tiling, statistics=statistics) - want).abs().mean() / want.std())

    assert off("sampled") < 0.05
    monkeypatch.setattr("pinxit.nn.tiling.MOST", 20)
    assert off("sampled") < 0.3
    assert off("tile") > 0.4


def test_sampled_statistics_leave_no_seam() -> None:
    """Where two windows meet, the picture steps as it does elsewhere."""
    network, picture = calm(), uneven(192, 448, noise=0)
    tiling = plan(192, 448, tile=192, multiple=MULTIPLE, margin=MARGIN)
    assert tiling.columns.ramp == 0
    want = whole(network, picture)

    def steps(out: Tensor) -> Tensor:
        """At the cuts."""
        cuts = torch.tensor(tiling.columns.cuts[1:-1])
        return (out[:, :, cuts] - out[:, :, cuts - 1]).abs().mean()

    assert steps(windowed(network, picture, tiling, statistics="sampled")) < 1.2 * steps(want)
    assert steps(windowed(network, picture, tiling, statistics="tile")) > 2.5 * steps(want)
    fading = plan(192, 448, tile=192, multiple=MULTIPLE, margin=MARGIN, fade=True)
    assert fading.columns.ramp == 2 * MARGIN
    assert steps(windowed(network, picture, fading, statistics="tile")) < 1.5 * steps(want)


def test_a_u_net_is_exact_where_windows_are_large_enough() -> None:
    network, picture = made(UNet()), uneven(640, 544)
    for norm in norms_of(network):
        norm.train()
    tiling = plan(640, 544, tile=384, multiple=32, margin=92)
    assert tiling.exact
    assert len(tiling) == 6
    got = windowed(network, picture, tiling, statistics="exact")
    assert (got - whole(network, picture)).abs().max() < 2e-5


@pytest.mark.parametrize("statistics", ["exact", "sampled", "tile"])
def test_a_u_net_sees_farther_than_a_window(statistics: Statistics) -> None:
    network, picture = made(UNet()), uneven(256, 320)
    for norm in norms_of(network):
        norm.train()  # the picture's own statistics, as the authors test
    tiling = plan(256, 320, tile=128, multiple=32, margin=92)
    assert not tiling.exact
    assert tiling.columns.ramp > 0
    before = {name: value.clone() for name, value in network.state_dict().items()}
    out = windowed(network, picture, tiling, statistics=statistics)
    assert out.shape == (2, 256, 320)
    assert torch.isfinite(out).all()
    if statistics != "tile":  # these would be counted by the layer itself, window by window
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert (out - whole(network, picture)).abs().mean() < 0.1


def test_one_window_is_the_whole_picture() -> None:
    network, picture = made(ResNet(affine)), uneven(96, 128)
    tiling = plan(96, 128, tile=128, multiple=MULTIPLE, margin=MARGIN)
    assert tiling.exact
    for statistics in ("exact", "sampled", "tile"):
        assert torch.equal(windowed(network, picture, tiling, statistics=statistics), whole(network, picture))


def test_a_layer_called_twice_has_two_sets_of_statistics() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.InstanceNorm2d(3), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(self.norm(self.conv(x)).relu()))

    network, picture = made(Twice()), uneven(64, 96)
    tiling = plan(64, 96, tile=32, multiple=1, margin=2)
    got = windowed(network, picture, tiling, statistics="exact")
    assert (got - whole(network, picture)).abs().max() < 2e-5


def test_norms_are_themselves_again_afterwards() -> None:
    network, picture = made(ResNet(affine)), uneven(256, 256)
    tiling = plan(256, 256, tile=128, multiple=MULTIPLE, margin=MARGIN)
    want = whole(network, picture)
    windowed(network, picture, tiling, statistics="sampled")
    assert torch.equal(whole(network, picture), want)

    def fail(rows: Tensor) -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - whatever a disk may raise
        translate(network, lambda y0, y1, x0, x1: picture[:, y0:y1, x0:x1], fail, tiling, norms=norms_of(network))
    assert torch.equal(whole(network, picture), want)


def test_noise_hangs_on_the_seed_and_is_the_same_in_every_pass() -> None:
    network = made(ResNet(affine))
    network.blocks.add_module("noise", Dropout(0.5, at_test=True))  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    picture = uneven(192, 192)
    tiling = plan(192, 192, tile=128, multiple=MULTIPLE, margin=MARGIN, fade=True)
    for statistics in ("exact", "sampled"):
        state = torch.random.get_rng_state()
        first, again, other = (windowed(network, picture, tiling, statistics=statistics, seed=s) for s in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("statistics", ["exact", "sampled", "tile"])
def test_the_work_is_told_as_it_is_done(statistics: Statistics) -> None:
    network, picture = made(ResNet(affine)), uneven(256, 256)
    tiling = plan(256, 256, tile=160, multiple=MULTIPLE, margin=MARGIN)
    told: list[float] = []
    windowed(network, picture, tiling, statistics=statistics, advance=told.append)
    assert sum(told) == pytest.approx(work(tiling, norms_of(network), statistics))


def test_rows_are_written_as_soon_as_no_window_touches_them() -> None:
    network, picture = made(ResNet(none)), uneven(600, 128)
    tiling = plan(600, 128, tile=160, multiple=MULTIPLE, margin=MARGIN, overlap=72)
    assert tiling.rows.ramp == 8
    lowest_read: list[int] = []
    written: list[tuple[int, int]] = []

    def read(y0: int, y1: int, x0: int, x1: int) -> Tensor:
        lowest_read.append(y1)
        return picture[:, y0:y1, x0:x1]

    translate(network, read, lambda rows: written.append((lowest_read[-1], rows.shape[1])), tiling)
    assert [reached for reached, _ in written] == [start + 160 for start in tiling.rows.starts]
    assert [sum(n for _, n in written[: i + 1]) for i in range(len(tiling.rows))] == [
        *(cut - 4 for cut in tiling.rows.cuts[1:-1]),
        600,
    ]


def test_features_that_are_no_fraction_are_a_defect() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.InstanceNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x[..., 1:, :])

    tiling = plan(64, 64, tile=32, multiple=1, margin=2)
    with pytest.raises(ValueError, match="31 features of 32 pixels"):
        windowed(Odd(), uneven(64, 64), tiling, statistics="exact")


def test_bf16_is_near() -> None:
    network, picture = made(ResNet(affine)), uneven(192, 192)
    tiling = plan(192, 192, tile=128, multiple=MULTIPLE, margin=MARGIN)
    with torch.autocast("cpu", torch.bfloat16):
        got, want = windowed(network, picture, tiling, statistics="exact"), whole(network, picture).float()
    assert got.dtype == torch.float32
    assert (got - want).abs().mean() < 0.05


def test_an_axis_of_one_window_has_no_ramp() -> None:
    assert plan(64, 640, tile=128, multiple=4, margin=8, overlap=64).rows == Axis(64, (0,), (0, 64), 0)
