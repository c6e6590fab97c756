"""The generator of SPADE for painting: what `network.Generator` computes, several times faster on a CPU.

Three quarters of the generator's work is gamma and beta, which hang on the labels in a small window alone; windows that
are alike are computed once (`pinxit.nn.windows`). All that is constant in a finished model is folded: batch norm into
gamma and beta, spectral norm into the weights. What remains, the picture's own convolutions, is done channels-last, in
fp32 where it pays with fewer multiplications (`pinxit.nn.winograd`), or in bf16.

Sums are made in another order than in `Generator`: pictures agree to about 1e-6 in fp32, not to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.spade.config import Network
from pinxit.models.spade.network import SPADE, Generator, SPADEBlock
from pinxit.nn.norm import BatchNorm2d, SpectralConv2d
from pinxit.nn.semantics import boundary
from pinxit.nn.windows import OUTSIDE, Edit, LabelConv, Windows, edited_windows, find_windows
from pinxit.nn.winograd import Winograd

CHUNK = 1 << 16
"""Numbers that are modulated at a time: with what is gathered for them, they stay in a core's cache."""
GROUP = 128
"""Channels whose gamma and beta are computed at a time, for the same reason."""
MOST_GIVEN = 1 << 25
"""Numbers of a product that is held whole: 128 MB."""
MOST_KEPT = 1 << 28
"""Bytes of a desk that is kept for the next picture: enough for COCO-Stuff's generator at 512 x 512."""


@dataclass(frozen=True)
class Rows:
    """What one SPADE unit makes of each distinct window: x -> scale * x + shift, each [L, C]."""

    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Canvas:
    """All that the generator takes from label maps."""

    codes: Tensor
    """The maps [N, H, W], as `label_conv` wants them."""
    start: Tensor | None
    """The first feature map; None with a VAE, whose style it is made from."""
    blocks: list[tuple[Tensor, list[Rows]]]
    """Of each block: the row of each pixel [N * H * W], and the rows of each of its units."""
    distinct: dict[int, int]
    """By a feature map's height: how many rows there were when no two were of windows that are alike."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        tensors = {id(index): index for index, _ in self.blocks}  # blocks of one resolution share theirs
        tables = [table for _, rows in self.blocks for unit in rows for table in (unit.scale, unit.shift)]
        start = [] if self.start is None else [self.start]
        return sum(tensor.nbytes for tensor in [self.codes, *start, *tensors.values(), *tables])


class Room:
    """Memory that is used again. New memory costs more than what is mostly done in it: the system clears each page."""

    def __init__(self) -> None:
        self.memory = torch.empty(0, dtype=torch.uint8)

    def of(self, dtype: torch.dtype, *shape: int) -> Tensor:
        """A tensor, which the next one overwrites."""
        n = math.prod(shape) * dtype.itemsize
        if self.memory.numel() < n:
            self.memory = torch.empty(n, dtype=torch.uint8)
        return self.memory[:n].view(dtype).view(shape)


class Desk:
    """Rooms for one picture at a time: a unit's output, what small windows give, a unit's rows."""

    def __init__(self) -> None:
        self.pixels, self.given, self.scale, self.shift = (Room() for _ in range(4))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(room.memory.nbytes for room in (self.pixels, self.given, self.scale, self.shift))


class FastGenerator:
    """A generator in eval mode on the CPU, folded; it keeps no parameters of that one's but shares some.

    `dtype`: what the picture's own convolutions, and gamma and beta, are computed in.
    """

    def __init__(self, G: Generator, dtype: torch.dtype = torch.float32) -> None:
        self.config, self.dtype, self.doublings = G.config, dtype, G.doublings
        with torch.no_grad():
            self.of_style = G.of_style if G.config.vae else None
            self.first = label_conv(G.first, G.config) if isinstance(G.first, nn.Conv2d) else None
            self.blocks = [FastBlock(block, G.config, dtype) for block, _ in G.blocks()]
            self.factors = [factor for _, factor in G.blocks()]
            self.to_picture = folded(G.to_picture, dtype)
        self.desks: list[Desk] = []  # that nobody works at

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        """One for this thread alone. It is left for the next picture, unless it has become large."""
        desk = self.desks.pop() if self.desks else Desk()
        yield desk
        if desk.nbytes <= MOST_KEPT:
            self.desks.append(desk)

    @torch.inference_mode()
    def __call__(self, labels: Tensor, instances: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        """As `Generator.forward`. What is computed of the maps is dropped as soon as it is used."""
        codes = self._codes(labels, instances)
        with self._desk() as desk:
            made = self._made(codes, {}, desk.given, (desk.scale, desk.shift))
            return self._paint(self._start(codes), self._grid(codes), made, z, desk.pixels)

    @torch.inference_mode()
    def canvas(self, labels: Tensor, instances: Tensor | None = None, most: float = math.inf) -> Canvas | None:
        """labels [N, H, W] int64, instances likewise -> all that hangs on them alone; None where that would take more
        than `most` bytes."""
        codes = self._codes(labels, instances)
        found = {height: self._windows(codes, height) for height in self._heights(codes)}
        distinct = {height: len(windows.large) for height, windows in found.items()}
        if self._size(codes, distinct) > most:
            return None
        with self._desk() as desk:
            blocks = [(index, list(rows)) for index, rows in self._made(codes, found, desk.given)]
        return Canvas(codes, self._start(codes), blocks, distinct)

    @torch.inference_mode()
    def edited(
        self, canvas: Canvas, labels: Tensor, instances: Tensor | None = None, most: float = math.inf
    ) -> Canvas | None:
        """As `canvas`, of maps as large as those of another canvas, from which all is taken that is the same there.

        Sums may be made in another order than in `canvas`, so pictures agree to rounding.
        """
        codes = self._codes(labels, instances)
        assert codes.shape == canvas.codes.shape
        edits: dict[int, Edit | None] = {}
        rows, distinct = {}, dict(canvas.distinct)
        for height, (index, units) in zip(self._heights(codes), canvas.blocks, strict=True):
            if height in edits:
                continue
            rows[height] = len(units[0].scale)
            before, now = at(canvas.codes, height), at(codes, height)
            # Rows of windows that are alike pile up, until they are made one.
            everywhere = rows[height] > 1.5 * distinct[height] + 256
            edit = edited_windows(before, now, index, rows[height], self.config.kernel, everywhere=everywhere)
            edits[height] = edit
            if edit is not None:
                rows[height] = len(edit.kept) + len(edit.fresh.large)
                distinct[height] = rows[height] if everywhere else distinct[height]
        if self._size(codes, rows) > most:
            return None
        blocks = []
        with self._desk() as desk:
            for height, block, (index, units) in zip(self._heights(codes), self.blocks, canvas.blocks, strict=True):
                edit = edits[height]
                if edit is not None:
                    index = edit.fresh.index
                    units = [unit.edited(old, edit, desk.given) for unit, old in zip(block.units, units, strict=True)]
                blocks.append((index, units))
        return Canvas(codes, self._start(codes), blocks, distinct)

    @torch.inference_mode()
    def paint(self, canvas: Canvas, z: Tensor | None = None) -> Tensor:
        """-> pictures [N, 3, H, W] in [-1, 1]; with a VAE in the styles z [N, z_dim], or n times as many, for n
        pictures of each map (all maps in the first styles, then all in the next)."""
        with self._desk() as desk:
            return self._paint(canvas.start, self._grid(canvas.codes), canvas.blocks, z, desk.pixels)

    def _paint(
        self,
        start: Tensor | None,
        grid: tuple[int, int],
        blocks: Iterable[tuple[Tensor, Iterable[Rows]]],
        z: Tensor | None,
        room: Room,
    ) -> Tensor:
        x = start if self.of_style is None else self.of_style(z, grid)
        assert x is not None
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        for block, factor, (index, rows) in zip(self.blocks, self.factors, blocks, strict=True):
            pixels = x.numel() // x.shape[1] * factor**2
            index = index if len(index) == pixels else index.repeat(pixels // len(index))
            x = block(x, factor, index, iter(rows), room)
        return torch.tanh(self.to_picture(F.leaky_relu_(x, 0.2)).to(torch.promote_types(self.dtype, torch.float32)))

    def _codes(self, labels: Tensor, instances: Tensor | None) -> Tensor:
        if not self.config.instances:
            return labels
        assert instances is not None
        return 2 * labels + boundary(instances)[:, 0].long()

    def _grid(self, codes: Tensor) -> tuple[int, int]:
        return codes.shape[1] >> self.doublings, codes.shape[2] >> self.doublings

    def _heights(self, codes: Tensor) -> list[int]:
        """The height of each block's feature map."""
        heights = [self._grid(codes)[0]]
        for factor in self.factors:
            heights.append(heights[-1] * factor)
        return heights[1:]

    def _start(self, codes: Tensor) -> Tensor | None:
        return None if self.first is None else self.first(at(codes, self._grid(codes)[0]))

    def _windows(self, codes: Tensor, height: int) -> Windows:
        return find_windows(at(codes, height), self.config.kernel)

    def _size(self, codes: Tensor, rows: dict[int, int]) -> int:
        """Bytes of all tables, by the number of rows at each height."""
        blocks = zip(self._heights(codes), self.blocks, strict=True)
        numbers = sum(2 * unit.channels * rows[height] for height, block in blocks for unit in block.units)
        return numbers * self.dtype.itemsize

    def _made(
        self, codes: Tensor, found: dict[int, Windows], room: Room, tables: tuple[Room, Room] | None = None
    ) -> Iterator[tuple[Tensor, Iterator[Rows]]]:
        """Of each block in turn the row of each pixel, and the rows of its units when they are asked for. `found`: the
        windows of each height, as far as they are known. `tables`: where each unit's rows overwrite the last one's."""
        for block, height in zip(self.blocks, self._heights(codes), strict=True):
            if height not in found:
                found = {height: self._windows(codes, height)}  # no block needs that of one before
            windows = found[height]
            yield windows.index, (unit.rows(windows, room, tables) for unit in block.units)


def at(codes: Tensor, height: int) -> Tensor:
    """The maps reduced to a height that divides theirs, as `nearest` does."""
    step = codes.shape[1] // height
    return codes[:, ::step, ::step]


class FastBlock:
    """A `SPADEBlock`, folded."""

    def __init__(self, block: SPADEBlock, c: Network, dtype: torch.dtype) -> None:
        self.units = [FastUnit(unit, c, dtype) for unit in block.units()]
        self.conv_0, self.conv_1 = FastConv(block.conv_0, dtype), FastConv(block.conv_1, dtype)
        # A convolution of 1x1: a product, which adds itself to what there is.
        self.shortcut = folded(block.conv_s, dtype).weight[:, :, 0, 0].t() if block.learned else None

    def __call__(self, x: Tensor, factor: int, index: Tensor, rows: Iterator[Rows], room: Room) -> Tensor:
        """`x`, as a map `factor` times as wide and high; `rows`: of each unit in turn."""
        dx = self.conv_0(self.units[0](x, index, next(rows), room, factor, activate=True, margin=1))
        dx = self.conv_1(self.units[1](dx, index, next(rows), room, activate=True, margin=1))
        if self.shortcut is None:
            repeated(dx, factor).add_(spread(x, factor))
        else:
            x = self.units[2](x, index, next(rows), room, factor, activate=False)
            flat(dx).addmm_(flat(x), self.shortcut)
        return dx


class FastUnit:
    """A `SPADE` unit, folded."""

    def __init__(self, unit: SPADE, c: Network, dtype: torch.dtype) -> None:
        self.norm, self.channels, self.dtype = unit.norm, unit.gamma.out_channels, dtype
        self.shared = label_conv(unit.shared, c)
        assert unit.gamma.bias is not None
        assert unit.beta.bias is not None
        # For each group of channels and each place of the window gamma, then beta.
        groups = zip(unit.gamma.weight.split(GROUP), unit.beta.weight.split(GROUP), strict=True)
        both = [torch.cat(pair).permute(1, 2, 3, 0).flatten(1) for pair in groups]
        self.products = [part.to(dtype).contiguous() for part in both]  # each [hidden, k * k * 2 * group]
        self.gamma, self.beta = 1 + unit.gamma.bias, unit.beta.bias.clone()
        self.folded = isinstance(unit.norm, BatchNorm2d) and not unit.norm.picture_at_test
        if self.folded:
            assert isinstance(unit.norm, BatchNorm2d)
            self.scale = torch.rsqrt(unit.norm.running_var + unit.norm.eps)
            self.mean = unit.norm.running_mean.clone()

    def rows(self, windows: Windows, room: Room, tables: tuple[Room, Room] | None = None) -> Rows:
        """gamma and beta of each distinct window, in `tables` or in memory of their own."""
        made = Rows(*((t or Room()).of(self.dtype, len(windows.large), self.channels) for t in tables or (None, None)))
        self.fill(made, windows, room)
        return made

    def edited(self, rows: Rows, edit: Edit, room: Room) -> Rows:
        """Of the rows there were those that stay, and behind them those of the new windows."""
        kept, fresh = edit.kept, edit.fresh
        made = Rows(*(torch.empty(len(kept) + len(fresh.large), self.channels, dtype=self.dtype) for _ in range(2)))
        torch.index_select(rows.scale, 0, kept, out=made.scale[: len(kept)])
        torch.index_select(rows.shift, 0, kept, out=made.shift[: len(kept)])
        if len(fresh.large):
            self.fill(Rows(made.scale[len(kept) :], made.shift[len(kept) :]), fresh, room)
        return made

    def fill(self, rows: Rows, windows: Windows, room: Room) -> None:
        """Write gamma and beta of each distinct window into `rows`."""
        hidden = F.relu(self.shared.rows(windows.small)).to(self.dtype)
        hidden = torch.cat([hidden, torch.zeros_like(hidden[:1])])
        places = windows.large.shape[1]
        chosen = torch.where(windows.large == OUTSIDE, len(hidden) - 1, windows.large)
        whole = len(hidden) * self.products[0].shape[1] <= MOST_GIVEN
        if whole:
            chosen = chosen * places + torch.arange(places)
        first = 0
        for product in self.products:
            here = slice(first, first + product.shape[1] // (2 * places))
            first = here.stop
            if whole:
                # What each small window gives to the places around it, then for each large one the sum of what it is
                # given. There are never more small ones, mostly fewer, so this costs less than the other product.
                given = torch.mm(hidden, product, out=room.of(self.dtype, len(hidden), product.shape[1]))
                self._finish(
                    rows, slice(None), here, F.embedding_bag(chosen, given.view(len(hidden) * places, -1), mode="sum")
                )
                continue
            weight = product.view(hidden.shape[1], places, -1).transpose(0, 1).flatten(0, 1)
            for start in range(0, len(chosen), 8192):
                part = slice(start, start + 8192)
                self._finish(rows, part, here, hidden[chosen[part]].flatten(1) @ weight)

    def _finish(self, rows: Rows, part: slice, here: slice, both: Tensor) -> None:
        """Write gamma and beta of some windows and channels: both [windows, 2 * channels], but for the constants."""
        scale, shift = both.to(self.gamma.dtype).split(both.shape[1] // 2, dim=1)
        scale += self.gamma[here]
        shift += self.beta[here]
        if self.folded:
            scale *= self.scale[here]
            shift.addcmul_(scale, self.mean[here], value=-1)
        rows.scale[part, here] = scale
        rows.shift[part, here] = shift

    def __call__(
        self, x: Tensor, index: Tensor, rows: Rows, room: Room, factor: int = 1, *, activate: bool, margin: int = 0
    ) -> Tensor:
        """x [N, C, H, W] channels last -> as a map `factor` times as wide and high, normalised and modulated, and
        through the leaky ReLU if told, with `margin` zeros around it; in `room`."""
        if not self.folded:
            x = self.norm(x).contiguous(memory_format=torch.channels_last)  # repeated or not, statistics are the same
        count, channels, height, width = x.shape
        high, wide = height * factor + 2 * margin, width * factor + 2 * margin
        out = room.of(x.dtype, count, high, wide, channels)
        if margin:
            for edge in (out[:, :margin], out[:, -margin:], out[:, :, :margin], out[:, :, -margin:]):
                edge.zero_()
        # A few of x's lines at a time.
        per_line = factor * width * factor
        step = max(1, CHUNK // channels // per_line)
        scales, shifts = x.new_empty(2, min(step, height) * per_line, channels)
        pictures = repeated(out[:, margin : high - margin, margin : wide - margin].permute(0, 3, 1, 2), factor)
        for n, (picture, lines) in enumerate(zip(pictures, spread(x, factor), strict=True)):
            for start in range(0, height, step):
                part, done = lines[start : start + step], picture[start : start + step]
                first = (n * height + start) * per_line
                row = index[first : first + len(part) * per_line]
                scale = torch.index_select(rows.scale, 0, row, out=scales[: len(row)])
                shift = torch.index_select(rows.shift, 0, row, out=shifts[: len(row)])
                torch.addcmul(shift.view(done.shape), part, scale.view(done.shape), out=done)
                if activate:
                    F.leaky_relu_(done, 0.2)
        return out.permute(0, 3, 1, 2)


def flat(x: Tensor) -> Tensor:
    """x [N, C, H, W] channels last -> its pixels [N * H * W, C], in place."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def spread(x: Tensor, factor: int) -> Tensor:
    """x [N, C, H, W] channels last -> [N, H, 1, W, 1, C], which fits what `repeated` makes of a map `factor` times as
    wide and high."""
    return x.permute(0, 2, 3, 1)[:, :, None, :, None]


def repeated(x: Tensor, factor: int) -> Tensor:
    """x [N, C, H * factor, W * factor] channels last -> [N, H, factor, W, factor, C], in place."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, factor)).unflatten(1, (-1, factor))


def label_conv(conv: nn.Conv2d, c: Network) -> LabelConv:
    """A convolution of one-hot labels, and of the boundary if there is one, as one of codes: the label, or twice the
    label and 1 at a boundary."""
    table = conv.weight.permute(2, 3, 1, 0).flatten(0, 1)  # [k * k, S, C]
    if c.instances:
        labels, edge = table[:, :-1], table[:, -1:]
        table = torch.stack([labels, labels + edge], dim=2).flatten(1, 2)
    assert conv.bias is not None
    return LabelConv(table, conv.bias)


class FastConv:
    """A 3x3 convolution, by the way that is quickest for the size of its pictures."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        self.plain = folded(conv, dtype)
        self.winograd: dict[int, Winograd] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """[N, C, H + 2, W + 2], with the zeros around it -> [N, O, H, W]."""
        pixels = (x.shape[2] - 2) * (x.shape[3] - 2)
        tile = best_tile(self.plain.in_channels, self.plain.out_channels, pixels, x.dtype)
        if tile == 0:
            return F.conv2d(x, self.plain.weight, self.plain.bias)
        if tile not in self.winograd:
            self.winograd[tile] = Winograd(self.plain.weight, self.plain.bias, tile)
        return self.winograd[tile](x)


def best_tile(inputs: int, outputs: int, pixels: int, dtype: torch.dtype) -> int:
    """Of the tiles of `Winograd` the quickest on a CPU of those that round little; 0 for PyTorch's own convolution."""
    fewest = min(inputs, outputs)
    # On few pixels 4 is no quicker, and its weights take the most memory.
    if dtype == torch.bfloat16 or pixels <= 16 * 16:
        return 2 if fewest >= 256 and pixels <= 64 * 64 else 0
    return 4 if fewest >= 128 else 0


def folded(conv: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    """A plain convolution with the weights that `conv` computes with in eval mode."""
    weight = conv.normalized_weight() if isinstance(conv, SpectralConv2d) else conv.weight
    side = conv.kernel_size[0]
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, side, padding=side // 2, bias=conv.bias is not None)
    plain.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if conv.bias is not None:
        plain.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)
    return plain.to(dtype).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
