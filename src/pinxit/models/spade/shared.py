"""SPADE in training, several times faster on a CPU: what `network` computes, with what is alike computed once.

- Gamma and beta hang on the labels in a small window alone. Windows that are alike are found once for a batch and
  resolution (`pinxit.nn.windows`), and shared by all SPADE units there, by the generator's two passes of a step, and by
  all pictures of the batch. A pixel takes its window's row; the gradient of a row is the sum of its pixels' gradients.
- A convolution of one-hot labels is a sum of table rows, in `SPADE.shared` and in the discriminator's first layer. That
  layer is linear, so what it makes of the map is computed once, for the fake and the real, for both updates of a step.
- The first and the last norm of a block normalise the same features: once.
- The generator's update needs no gradient of the discriminator's features of real pictures.

All of it is exact: the same sums in another order. `network` stays the plain form, which this one is held against
(tests/models/spade/test_shared.py), and which does what would not pay, as where nearly all windows differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pinxit.models.spade.config import Network
from pinxit.models.spade.network import (
    SPADE,
    Discriminator,
    Encoder,
    Generator,
    NormedConv,
    PatchDiscriminator,
    SPADEBlock,
    double,
    semantic_channels,
)
from pinxit.nn.norm import BatchNorm2d, InstanceNorm2d, SpectralConv2d
from pinxit.nn.semantics import boundary
from pinxit.nn.windows import OUTSIDE, find_windows
from pinxit.recipe import world_size

BAND = 4096
"""Pixels that are modulated at a time, about: with what is gathered for them, they stay in a core's cache."""
FEW = 32
"""Channels of a label map up to which a plain convolution of it is quicker than a sum of table rows."""
DIRECT = 1.7
"""Windows of windows for each window up to which their own product is quicker than one of the latter, summed."""
PAYS = 0.85
"""The share of distinct windows among all up to which sharing is quicker."""


class Sums:
    """A matrix of zeros and ones: which rows of a table each output is the sum of.

    Those of output b are `rows[starts[b] : starts[b + 1]]`; the table has `height` rows.
    """

    def __init__(self, rows: Tensor, starts: Tensor, height: int) -> None:
        self.rows, self.starts, self.height = rows, starts, height

    @cached_property
    def transposed(self) -> Sums:
        """Which outputs each row of the table goes to."""
        lengths = self.starts[1:] - self.starts[:-1]
        outputs = torch.repeat_interleave(torch.arange(len(lengths), device=self.rows.device), lengths)
        order = torch.sort(self.rows, stable=True).indices
        return Sums(outputs[order], starts_of(torch.bincount(self.rows, minlength=self.height)), len(lengths))

    def __call__(self, table: Tensor) -> Tensor:
        """table [height, C] -> [outputs, C], differentiable."""
        return _Summed.apply(table, self)  # pyright: ignore[reportReturnType]

    def of(self, table: Tensor) -> Tensor:
        """The same, not differentiable."""
        return F.embedding_bag(self.rows, table.contiguous(), self.starts, mode="sum", include_last_offset=True)


class _Summed(torch.autograd.Function):
    """Why not the gradient of `embedding_bag` itself: it sorts all rows anew each time, and adds them one by one."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, sums: Sums) -> Tensor:
        ctx.sums = sums
        return sums.of(table)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.sums.transposed.of(grads[0]), None


def starts_of(lengths: Tensor) -> Tensor:
    """Lengths [B] -> where each of B lists that lie one behind another starts, and where the last one ends [B + 1]."""
    return F.pad(lengths.cumsum(0), [1, 0])


def sums_of(rows: Tensor, there: Tensor, height: int) -> Sums:
    """rows [B, n] of a table of `height` rows, those that are `there` [B, n] -> for each output the sum of its rows."""
    return Sums(rows[there], starts_of(there.sum(1)), height)


def label_sums(windows: Tensor, c: Network) -> Sums:
    """Windows [U, k * k] of codes -> a convolution of them, as sums of rows of its `table_of` weights."""
    channels = semantic_channels(c)
    base = torch.arange(windows.shape[1], device=windows.device) * channels
    there = windows != OUTSIDE
    if not c.instances:
        return sums_of(base + windows, there, len(base) * channels)
    # A pixel on a boundary adds a second row, that of the last channel.
    rows = torch.stack([base + windows // 2, (base + channels - 1).expand_as(windows)], dim=2)
    there = torch.stack([there, there & (windows % 2 == 1)], dim=2)
    return sums_of(rows.flatten(1), there.flatten(1), len(base) * channels)


def table_of(weight: Tensor) -> Tensor:
    """The weight [C, S, k, k] of a convolution -> [k * k * S, C]: a row for each place of the window and channel."""
    return weight.permute(2, 3, 1, 0).flatten(0, 2)


class Level:
    """Label maps at one resolution, [N, h, w] codes."""

    def __init__(self, codes: Tensor, c: Network) -> None:
        self.codes, self.config = codes, c
        windows = find_windows(codes, c.kernel)
        self.index, self.count = windows.index, len(windows.large)
        self.shares = self.count <= PAYS * len(self.index)
        if self.shares:
            small, large = windows.small, windows.large
            self.labels = label_sums(small, c)
            self.direct = len(large) <= DIRECT * len(small)
            if self.direct:
                self.wide = sums_of(large.reshape(-1, 1), large.reshape(-1, 1) != OUTSIDE, len(small))
            else:
                places = torch.arange(large.shape[1], device=codes.device)
                rows = large * len(places) + places
                self.wide = sums_of(rows, large != OUTSIDE, len(small) * len(places))

    @cached_property
    def bands(self) -> Bands:
        return Bands(self.index, self.count, len(self.codes) * self.codes.shape[1], self.codes.shape[2])

    @cached_property
    def semantics(self) -> Tensor:
        """[N, S, h, w] of 0 and 1, for a convolution that is not shared."""
        return semantics_of(self.codes, self.config)


def semantics_of(codes: Tensor, c: Network) -> Tensor:
    """Codes [N, h, w] -> the channels that `network.embed` has, channels last."""
    hot = torch.zeros(*codes.shape, semantic_channels(c), device=codes.device)
    hot.scatter_(3, (codes // 2 if c.instances else codes)[..., None], 1.0)
    if c.instances:
        hot[..., -1] = codes % 2
    return hot.permute(0, 3, 1, 2)


class Bands:
    """Pixels in bands of whole lines, and the sum over all pixels of each window: first in each band, while what is
    summed lies in a cache, then over bands. (Two short sums in a row also round less than a long one.)

    `index` [lines * width]: the window of each pixel, of `count`.
    """

    def __init__(self, index: Tensor, count: int, lines: int, width: int) -> None:
        pixels = 2 * width * max(1, BAND // (2 * width))  # an even number of lines
        ends = range(0, lines * width, pixels)
        self.slices = [slice(start, min(start + pixels, lines * width)) for start in ends]
        places = torch.arange(len(index), device=index.device)
        key, order = torch.sort(places // pixels * count + index, stable=True)
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        starts = F.pad(first.nonzero()[:, 0], [0, 1], value=len(key))
        found = key[starts[:-1]]
        extents = torch.searchsorted(found, torch.arange(len(self.slices) + 1, device=index.device) * count).tolist()
        self._extents = [slice(a, b) for a, b in pairwise(extents)]
        self._within = [
            Sums(order[part] - part.start, starts[e.start : e.stop + 1] - part.start, pixels)
            for part, e in zip(self.slices, self._extents, strict=True)
        ]
        self._over = Sums(found % count, torch.arange(len(found) + 1, device=index.device), count).transposed
        self.length = len(found)
        # Of each pixel of a band: where it comes from in the lines of half the width that are to be doubled.
        line = torch.arange(pixels, device=index.device)
        self.parents = line // width // 2 * (width // 2) + line % width // 2

    def collect(self, band: int, values: Tensor, into: Tensor) -> None:
        """values [pixels of the band, C] -> its part of `into` [`length`, C]."""
        into[self._extents[band]] = self._within[band].of(values)

    def over(self, collected: Tensor) -> Tensor:
        """[`length`, C] -> [count, C]."""
        return self._over.of(collected)


class Maps:
    """All that a step takes from its label maps: found once, used by every pass of the step.

    labels [N, H, W] int64, instances likewise where the network has them.
    """

    def __init__(self, labels: Tensor, instances: Tensor | None, c: Network) -> None:
        self.config, self.codes = c, labels
        if c.instances:
            assert instances is not None
            # The label, and whether it is at a boundary, as one number.
            self.codes = 2 * labels + boundary(instances)[:, 0].long()
        self._levels: dict[int, Level] = {}

    def at(self, height: int) -> Level:
        """The maps as `nearest` reduces them to a height that divides their own."""
        if height not in self._levels:
            step = self.codes.shape[1] // height
            self._levels[height] = Level(self.codes[:, ::step, ::step], self.config)
        return self._levels[height]


def paint(G: Generator, maps: Maps, z: Tensor | None = None) -> Tensor:
    """What `Generator.forward` computes of the same maps, in train mode."""
    grid = G.grid_of(maps.codes)
    if G.config.vae:
        x = G.of_style(z, grid)
    else:
        step = maps.codes.shape[1] // grid[0]
        x = G.start(semantics_of(maps.codes[:, ::step, ::step], G.config), grid)
    x = x.contiguous(memory_format=torch.channels_last)
    for block, factor in G.blocks():
        x = through(block, x, maps.at(x.shape[2] * factor), doubled=factor == 2)
    return torch.tanh(G.to_picture(F.leaky_relu(x, 0.2)))


def through(block: SPADEBlock, x: Tensor, level: Level, *, doubled: bool) -> Tensor:
    """What `SPADEBlock.forward` computes of x, which is to be enlarged before if `doubled`."""
    if doubled and not (block.learned and level.shares):
        x, doubled = double(x), False
    units = [block.norm_0, *([block.norm_s] if block.learned else [])]
    normed = normalized(x, [unit.norm for unit in units], doubled=doubled)
    dx, *shortcut = modulated(units, normed, level, doubled=doubled)
    dx = block.conv_0(dx)
    (dx,) = modulated([block.norm_1], normalized(dx, [block.norm_1.norm]), level)
    return block.conv_1(dx).add_(block.conv_s(shortcut[0]) if block.learned else x)


def normalized(x: Tensor, norms: list[nn.Module], *, doubled: bool = False) -> Tensor:
    """x as each of `norms`, which have no weights, normalises it in train mode; all take note of its statistics.

    `doubled`: of x to be enlarged by 2, which has the same mean and variance. But running statistics count its pixels.
    """
    norm = norms[0]
    if not isinstance(norm, BatchNorm2d):
        return per_picture(norm, x)
    mean, var = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
    normed = functional_call(norm, {"running_mean": mean, "running_var": var}, (x,))
    if doubled:
        n = x.numel() // x.shape[1] * (world_size() if norm.sync else 1)
        var = var * ((n - 1) / (n - 0.25))  # from n / (n - 1) to 4 n / (4 n - 1) times the variance
    for each in norms:
        assert isinstance(each, BatchNorm2d)
        each.running_mean.mul_(1 - norm.momentum).add_(mean)
        each.running_var.mul_(1 - norm.momentum).add_(var)
    return normed


def per_picture(norm: nn.Module, x: Tensor) -> Tensor:
    """`norm(x)`; an instance norm of one picture after the other, as PyTorch's of several would lay them out anew."""
    if isinstance(norm, InstanceNorm2d) and len(x) > 1:
        return torch.cat([norm(picture) for picture in x.split(1)])
    return norm(x)


def encode(E: Encoder, photo: Tensor) -> tuple[Tensor, Tensor]:
    """What `Encoder.forward` computes."""
    x = photo
    if x.shape[2:] != (256, 256):
        x = F.interpolate(x, (256, 256), mode="bilinear", align_corners=False)
    for layer in E.layers:
        assert isinstance(layer, NormedConv)
        x = F.leaky_relu_(per_picture(layer.norm, layer.conv(x)), 0.2)
    x = x.flatten(1)
    return E.mean(x), E.log_variance(x)


def modulated(units: list[SPADE], x: Tensor, level: Level, *, doubled: bool = False) -> tuple[Tensor, ...]:
    """x [N, C, h, w], normalised, and enlarged by 2 if `doubled` -> of each unit: x scaled and shifted by its gamma and
    beta; the first unit's through the leaky ReLU."""
    if level.shares:
        rows = [part for unit in units for part in rows_of(unit, level)]
        return _Modulated.apply(x, level, doubled, *rows)  # pyright: ignore[reportReturnType]
    out = []
    for unit in units:
        hidden = F.relu(unit.shared(level.semantics))
        out.append(x * (1 + unit.gamma(hidden)) + unit.beta(hidden))
    return F.leaky_relu(out[0], 0.2), *out[1:]


def rows_of(unit: SPADE, level: Level) -> tuple[Tensor, Tensor]:
    """1 + gamma and beta of each distinct window, each [L, C]."""
    assert unit.gamma.bias is not None
    assert unit.beta.bias is not None
    assert unit.shared.bias is not None
    hidden = F.relu(level.labels(table_of(unit.shared.weight)) + unit.shared.bias)
    both = torch.cat([unit.gamma.weight, unit.beta.weight])  # [2 C, hidden, k, k]
    if level.direct:
        rows = level.wide(hidden).view(level.count, -1) @ both.permute(2, 3, 1, 0).flatten(0, 2)
    else:
        # What each small window gives to the places around it, then for each large one the sum of what it is given:
        # where there are fewer small ones, this costs less than a product of the large ones.
        given = hidden @ both.permute(1, 2, 3, 0).flatten(1)
        rows = level.wide(given.view(-1, len(both)))
    gamma, beta = rows.chunk(2, dim=1)
    return 1 + (gamma + unit.gamma.bias), beta + unit.beta.bias


class _Modulated(torch.autograd.Function):
    """x * scale + shift with the rows of each pixel's window, for each pair of them; the first through the leaky ReLU.

    A band of pixels at a time. A doubled x is not made: each of four pixels reads the one that it would be a copy of.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, level: Level, doubled: bool, *rows: Tensor) -> tuple[Tensor, ...]:
        rows = tuple(part.to(x.dtype).contiguous() for part in rows)
        pixels = flat(x)
        outs = [pixels.new_empty(len(level.index), x.shape[1]) for _ in rows[::2]]
        for part in level.bands.slices:
            here, index = band_of(pixels, level.bands, part, doubled), level.index[part]
            for i, out in enumerate(outs):
                done = out[part]
                torch.mul(here, rows[2 * i].index_select(0, index), out=done)
                done += rows[2 * i + 1].index_select(0, index)
            F.leaky_relu_(outs[0][part], 0.2)
        outs = [unflat(out, level.codes.shape) for out in outs]
        ctx.save_for_backward(x, outs[0], *rows[::2])
        ctx.level, ctx.doubled = level, doubled
        return tuple(outs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, first, *scales = ctx.saved_tensors
        level, bands = ctx.level, ctx.level.bands
        pixels, first, flat_grads = flat(x), flat(first), [flat(grad) for grad in grads]
        to_x = torch.empty_like(pixels)
        collected = [pixels.new_empty(bands.length, x.shape[1]) for _ in range(2 * len(scales))]
        for band, part in enumerate(bands.slices):
            here, index = band_of(pixels, bands, part, ctx.doubled), level.index[part]
            total = None
            for i, (scale, grad) in enumerate(zip(scales, flat_grads, strict=True)):
                given = grad[part]
                if i == 0:
                    given = torch.ops.aten.leaky_relu_backward(given, first[part], 0.2, True)
                bands.collect(band, given * here, collected[2 * i])
                bands.collect(band, given, collected[2 * i + 1])
                to_here = scale.index_select(0, index).mul_(given)
                total = to_here if total is None else total.add_(to_here)
            assert total is not None
            if ctx.doubled:
                width = level.codes.shape[2]
                lines = total.view(-1, 2, width * x.shape[1])  # of each two lines the sum, then of each two pixels
                pairs = (lines[:, 0] + lines[:, 1]).view(-1, 2, x.shape[1])
                total = pairs[:, 0] + pairs[:, 1]
                part = slice(part.start // 4, part.stop // 4)
            to_x[part] = total
        return unflat(to_x, (len(x), *x.shape[2:])), None, None, *map(bands.over, collected)


def band_of(pixels: Tensor, bands: Bands, part: slice, doubled: bool) -> Tensor:
    """pixels [P, C] -> those of a band; if `doubled`, a quarter of them, each four times."""
    if not doubled:
        return pixels[part]
    return pixels[part.start // 4 : part.stop // 4].index_select(0, bands.parents[: part.stop - part.start])


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N * H * W, C]; no copy where it is channels last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def unflat(pixels: Tensor, shape: Sequence[int]) -> Tensor:
    """[N * H * W, C], shape (N, H, W) -> [N, C, H, W], channels last."""
    return pixels.view(*shape, -1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Firsts:
    """What the first layer of each discriminator makes of the label maps, its bias included [N, C, h, w]."""

    of_maps: list[Tensor]

    def detach(self) -> Firsts:
        return Firsts([part.detach() for part in self.of_maps])


def firsts_of(D: Discriminator, maps: Maps) -> Firsts:
    """Differentiable by the weights of D."""
    c, codes = maps.config, maps.codes
    out, pooled = [], None
    for i, D_i in enumerate(D.scales):
        assert isinstance(D_i, PatchDiscriminator)
        conv = D_i.first
        assert conv.bias is not None
        weight = conv.weight[:, :-3]
        if i == 0:
            out.append(of_codes(codes, weight, conv.bias, c))
            continue
        pooled = pooled_semantics(codes, c) if pooled is None else halved(pooled)
        out.append(F.conv2d(pooled, weight, conv.bias, stride=2, padding=2))
    return Firsts(out)


def of_codes(codes: Tensor, weight: Tensor, bias: Tensor, c: Network) -> Tensor:
    """The convolution (4x4, stride 2, padding 2) of a map of codes [N, H, W] -> [N, C, h, w], channels last."""
    if weight.shape[1] <= FEW:
        return F.conv2d(semantics_of(codes, c), weight, bias, stride=2, padding=2)
    windows = F.pad(codes - OUTSIDE, [2] * 4).unfold(1, 4, 2).unfold(2, 4, 2)
    rows = label_sums(windows.reshape(-1, 16) + OUTSIDE, c)(table_of(weight)) + bias
    return unflat(rows, windows.shape[:3])


def pooled_semantics(codes: Tensor, c: Network) -> Tensor:
    """`halved` of the semantics of codes [N, H, W], which are not made at full size -> channels last."""
    unfolded = F.pad(codes - OUTSIDE, [1] * 4).unfold(1, 3, 2).unfold(2, 3, 2)
    windows = unfolded.reshape(-1, 9) + OUTSIDE
    there = windows != OUTSIDE
    labels = (windows // 2 if c.instances else windows).clamp(min=0)
    sums = torch.zeros(len(windows), semantic_channels(c), device=codes.device)
    sums.scatter_add_(1, labels, there.to(sums.dtype))
    if c.instances:
        sums[:, -1] = (there & (windows % 2 == 1)).sum(1)
    sums /= there.sum(1, keepdim=True)
    return unflat(sums, unfolded.shape[:3])


def halved(x: Tensor) -> Tensor:
    """As `network.Discriminator` does from one scale to the next."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def discriminate(D: Discriminator, firsts: Firsts, picture: Tensor) -> list[list[Tensor]]:
    """What `Discriminator.forward` computes; `picture` [n * N, 3, H, W]: n batches of the same N label maps."""
    outputs = []
    picture = picture.contiguous(memory_format=torch.channels_last)
    for D_i, of_maps in zip(D.scales, firsts.of_maps, strict=True):
        assert isinstance(D_i, PatchDiscriminator)
        layers = [first_of(D_i, of_maps, picture)]
        for layer in D_i.layers:
            assert isinstance(layer, NormedConv)
            layers.append(F.leaky_relu_(per_picture(layer.norm, layer.conv(layers[-1])), 0.2))
        outputs.append([*layers, logits_of(D_i.logits, layers[-1])])
        picture = halved(picture)
    return outputs


def discriminate_apart(
    D: Discriminator, firsts: Firsts, fake: Tensor, real: Tensor
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """The same for fakes and for reals apart, the latter without a graph, as nothing flows back there."""
    on_fake, on_real = [], []
    real = real.contiguous(memory_format=torch.channels_last)
    for D_i, of_maps in zip(D.scales, firsts.of_maps, strict=True):
        assert isinstance(D_i, PatchDiscriminator)
        fakes = [first_of(D_i, of_maps, fake)]
        with torch.no_grad():
            reals = [first_of(D_i, of_maps, real)]
        for layer in D_i.layers:
            assert isinstance(layer, NormedConv)
            # One power iteration for both, as in one pass.
            weight = layer.conv.normalized_weight() if isinstance(layer.conv, SpectralConv2d) else layer.conv.weight
            fakes.append(layered(layer, fakes[-1], weight))
            with torch.no_grad():
                reals.append(layered(layer, reals[-1], weight))
        on_fake.append([*fakes, logits_of(D_i.logits, fakes[-1])])
        with torch.no_grad():
            on_real.append([*reals, logits_of(D_i.logits, reals[-1])])
        fake, real = halved(fake), halved(real)
    return on_fake, on_real


def layered(layer: NormedConv, x: Tensor, weight: Tensor) -> Tensor:
    """A layer with the weight that it computes with given."""
    return F.leaky_relu_(per_picture(layer.norm, layer.conv._conv_forward(x, weight, layer.conv.bias)), 0.2)


def first_of(D_i: PatchDiscriminator, of_maps: Tensor, picture: Tensor) -> Tensor:
    """The first layer of pictures [n * N, 3, H, W] and their maps."""
    x = F.conv2d(picture, D_i.first.weight[:, -3:], stride=2, padding=2)
    # Not in place: the gradient of a view that was changed is copied around.
    return F.leaky_relu_(x.unflatten(0, (-1, len(of_maps))) + of_maps.to(x.dtype), 0.2).flatten(0, 1)


def logits_of(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution (4x4, stride 1, padding 2) to one channel: what each pixel gives to those around it, added up.

    PyTorch's own is ten times slower than with more channels.
    """
    given = F.conv2d(x, conv.weight[0].flip(1, 2).flatten(1).t()[:, :, None, None])  # 16 channels
    height, width = x.shape[2:]
    out = F.fold(given.flatten(2), (height + 1, width + 1), kernel_size=4, padding=1)
    assert conv.bias is not None
    return out + conv.bias
