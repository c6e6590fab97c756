"""Pictures larger than memory, translated window by window as if they were whole.

Three things differ between a window and the whole picture, and each is met on purpose:

- **Edges.** A window's own edges look to the network like the picture's, and it pads there. So neighbours overlap; a
  window answers for its *core* alone, `margin` pixels (the radius of what a pixel of the output hangs on) or more from
  every edge that is not the picture's. There it is the picture's true edge, padded as ever.
- **Phase.** Layers with a stride sample every 2nd, 4th, … pixel. All windows and cores start at multiples of
  `multiple`, which all strides divide: each feature, at every depth, is the one of the whole picture, and lies in the
  core of exactly one window.
- **Statistics.** Instance norm, and batch norm by the picture's own statistics, subtract a mean and divide by a
  deviation taken over the *whole picture*. Over a window these are others: a window of sky is normalised as if all
  the picture were sky, and its colours jump at the seam. So here such a layer's own statistics are put aside, and all
  windows are normalised by one set of them (`Statistics`).

Where the windows overlap enough and statistics are `exact`, the result is that of the whole picture, but for rounding.
A network that sees farther than a window can reach (a U-Net down to one pixel) has no such core: its windows fade into
one another over the overlap, and the result is another one than that of the whole picture.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise, product
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.dropout import masks_of

Statistics = Literal["sampled", "exact", "tile"]
"""Where the means and deviations of a picture's norm layers come from:

- `exact`: from all of the picture, in a pass over all windows for each norm layer: what the k-th sees is right only
  when those before it are, so the k-th pass measures it with the k - 1 found, and stops there.
- `sampled`: from small windows, in one pass: all of a picture up to some 6000 x 6000, of a larger one as many, spread
  evenly. A batch of them, itself from all over the picture, is normalised by what its cores have together; the moments
  of all batches are merged. As all share what was found, there are no seams; how near it is hangs on the picture.
- `tile`: each window's own. Seams are what this gives, blended; for comparison.
"""

Read = Callable[[int, int, int, int], Tensor]
"""`read(y0, y1, x0, x1)`: that window of the padded picture, [C, y1 - y0, x1 - x0] in [-1, 1], on the CPU."""

Write = Callable[[Tensor], None]
"""`write(rows)`: the next rows of the translated padded picture, float32 [C, h, W] on the CPU, from the top down."""

Advance = Callable[[float], None]
"""`advance(windows)`: so much more work is done."""

SAMPLED = 256
"""Side of the windows that are sampled, where the network's multiples allow it: rather many than large."""

BATCH, MOST = 16, 2048
"""Windows of a batch at least, so that they are nearly the picture, and of all batches together at most."""


@dataclass(frozen=True)
class Axis:
    """Windows along one side of a picture: all of one size, the first and the last ending where the picture does."""

    size: int
    starts: tuple[int, ...]
    cuts: tuple[int, ...]
    """One more than windows, 0 and the picture's length included: window i's core is cuts[i]..cuts[i + 1]."""
    ramp: int
    """Pixels about each cut between two windows over which one fades into the other; 0: where the cut is."""

    def __len__(self) -> int:
        return len(self.starts)

    def core(self, i: int) -> tuple[int, int]:
        """Window i's core, counted from the start of the window."""
        return self.cuts[i] - self.starts[i], self.cuts[i + 1] - self.starts[i]

    def reach(self, i: int) -> tuple[int, int]:
        """The pixels of the picture that window i has a part in: its core and half the ramps."""
        half = self.ramp // 2
        return self.cuts[i] - half * (i > 0), self.cuts[i + 1] + half * (i + 1 < len(self))

    def weights(self, i: int) -> Tensor:
        """Window i's part in each pixel of its reach; over all windows they sum to 1 in every pixel."""
        start, stop = self.reach(i)
        weights = torch.ones(stop - start)
        rise = (torch.arange(self.ramp) + 0.5) / max(self.ramp, 1)
        if i > 0:
            weights[: self.ramp] *= rise
        if i + 1 < len(self):
            weights[len(weights) - self.ramp :] *= 1 - rise
        return weights


@dataclass(frozen=True)
class Tiling:
    """How a picture is covered by windows. Make one with `plan`."""

    rows: Axis
    columns: Axis
    exact: bool
    """Whether cores are `margin` or more from the edges that are not the picture's."""
    sampled: tuple[Axis, Axis]
    """Windows to measure `sampled` statistics in, smaller ones."""

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)


def plan(
    height: int,
    width: int,
    *,
    tile: int,
    multiple: int,
    margin: int,
    overlap: int | None = None,
    fade: bool = False,
) -> Tiling:
    """Cover a picture of `height` x `width`, multiples of `multiple`, by windows of at most `tile` x `tile`.

    `tile`: a multiple of `multiple`, at least twice that.
    `margin`: the radius of what a pixel of the output hangs on.
    `overlap`: pixels that neighbours share, at least; rounded up to a multiple. By default twice the margin or, where
    that is more than half a window, half a window.
    `fade`: the windows will differ where they overlap (statistics or noise of their own), so blend over all of it.
    """
    if height % multiple or width % multiple or tile % multiple or tile < 2 * multiple:
        raise ValueError(f"{height}x{width} in windows of {tile} is not in multiples of {multiple}")
    context = _up(margin, multiple)
    overlap = min(2 * context, tile // 2) if overlap is None else overlap
    overlap = min(_up(overlap, multiple), tile - multiple)
    exact = overlap >= 2 * context or max(height, width) <= tile
    trim = context if exact and not fade else 0
    rows, columns = (_axis(side, tile, overlap, multiple, trim) for side in (height, width))
    # Less than the margin is left out of these: what an edge changes near it hardly tells in a mean.
    small = min(tile, _up(max(SAMPLED, 2 * multiple), multiple))
    overlap = min(2 * context, _up(small // 4, multiple))
    sampled = (_axis(height, small, overlap, multiple, 0), _axis(width, small, overlap, multiple, 0))
    return Tiling(rows, columns, exact, sampled)


def smallest_exact_tile(multiple: int, margin: int) -> int:
    """The side of the smallest window whose default overlap makes the result exact."""
    return max(4 * _up(margin, multiple), 2 * multiple)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _starts(length: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Evenly spread, rather than the last pushed back upon the one before: no three share a pixel needlessly."""
    if length <= tile:
        return [0]
    steps = -(-(length - tile) // (tile - overlap))
    return [(length - tile) // multiple * i // steps * multiple for i in range(steps + 1)]


def _axis(length: int, tile: int, overlap: int, multiple: int, trim: int) -> Axis:
    size, starts = min(tile, length), _starts(length, tile, overlap, multiple)
    cuts, ramps = [0], [length]
    for ending, beginning in pairwise(starts):
        # A cut lies amid the overlap of its two windows, and the ramp within it, clear of the one before.
        half = (ending + size - beginning) // 2 // multiple * multiple
        cuts.append(beginning + half)
        ramps.append(2 * max(0, half - trim))
        if len(cuts) > 2:
            ramps.append((cuts[-1] - cuts[-2]) // 2 * 2)
    return Axis(size, tuple(starts), (*cuts, length), min(ramps) if len(starts) > 1 else 0)


def reflected(start: int, stop: int, length: int) -> np.ndarray:
    """Which of its pixels 0..length - 1 stand at start..stop - 1 of a side that is continued by reflection, as often as
    needed, the pixels at its ends not repeated: as `numpy.pad` does."""
    period = max(2 * (length - 1), 1)
    place = np.arange(start, stop) % period
    return np.minimum(place, period - place) if length > 1 else np.zeros(stop - start, np.int64)


def translate(
    network: nn.Module,
    read: Read,
    write: Write,
    tiling: Tiling,
    *,
    norms: Sequence[nn.Module] = (),
    statistics: Statistics = "sampled",
    seed: int = 0,
    advance: Advance = lambda windows: None,
) -> None:
    """Translate a picture by its windows, row after row of them; rows that are finished are written at once.

    What is in memory is one window's activations, the output of one row of windows and, for `sampled`, the windows
    that are measured.

    `network`: [N, C, h, w] -> [N, C', h, w]; at its norm layers h and w are a fraction of the window's, without
    remainder for multiples of `multiple`.
    `norms`: its layers that take their statistics from the picture (with `weight`, `bias`, `eps`, as torch's have).
    `seed`: of what dropout leaves out, where the network has it on; every window has noise of its own, the same in
    every pass.
    `advance`: told of the work done, in windows; in all that is `work(tiling, norms, statistics)`.

    A picture of one window is translated plainly.
    """
    with _Network(network, norms, seed) as windowed:
        if shares(tiling, norms, statistics):
            measure = _exact if statistics == "exact" else _sampled
            windowed.found = measure(windowed, read, tiling, advance)
        _write(windowed, read, write, tiling, advance)


def shares(tiling: Tiling, norms: Sequence[nn.Module], statistics: Statistics) -> bool:
    """Whether there are windows that need statistics in common."""
    return len(tiling) > 1 and len(norms) > 0 and statistics != "tile"


def work(tiling: Tiling, norms: Sequence[nn.Module], statistics: Statistics) -> float:
    """What `translate` will tell `advance` of, in all, about."""
    if not shares(tiling, norms, statistics):
        return len(tiling)
    if statistics == "exact":
        return len(tiling) * (1 + sum(_part(k, norms) for k in range(len(norms))))
    return len(tiling) + sum(len(batch) for batch in _batches(tiling)) * _size_of_sampled(tiling)


def _part(k: int, norms: Sequence[nn.Module]) -> float:
    """How much of a forward it is, about, as far as the k-th norm layer."""
    return min(1.0, (k + 1) / (len(norms) + 1))


def _size_of_sampled(tiling: Tiling) -> float:
    """A window that is sampled, as a fraction of one that is translated."""
    rows, columns = tiling.sampled
    return rows.size * columns.size / (tiling.rows.size * tiling.columns.size)


def _write(network: _Network, read: Read, write: Write, tiling: Tiling, advance: Advance) -> None:
    rows, columns = tiling.rows, tiling.columns
    carried: Tensor | None = None
    for r, y in enumerate(rows.starts):
        top, bottom = rows.reach(r)
        strip: Tensor | None = None
        for c, x in enumerate(columns.starts):
            out = network(_window(read, rows, r, columns, c)[None], r * len(columns) + c)[0].float().cpu()
            left, right = columns.reach(c)
            if strip is None:
                strip = torch.zeros(len(out), bottom - top, columns.cuts[-1])
                if carried is not None:
                    strip[:, : carried.shape[1]] = carried
            part = out[:, top - y : bottom - y, left - x : right - x]
            strip[:, :, left:right] += part * rows.weights(r)[:, None] * columns.weights(c)
            advance(1)
        assert strip is not None
        # The next row of windows has a part in the last ramp; what is above it is finished.
        finished = (rows.reach(r + 1)[0] if r + 1 < len(rows) else bottom) - top
        carried = strip[:, finished:].clone()
        write(strip[:, :finished])


def _window(read: Read, rows: Axis, r: int, columns: Axis, c: int) -> Tensor:
    y, x = rows.starts[r], columns.starts[c]
    return read(y, y + rows.size, x, x + columns.size)


Found = list[tuple[Tensor, Tensor]]
"""Mean and variance [C] for each norm layer, in the order in which they are called."""


def _exact(network: _Network, read: Read, tiling: Tiling, advance: Advance) -> Found:
    rows, columns = tiling.rows, tiling.columns
    found: Found = []
    for k in count():
        network.measure(found, first=k, last=k)
        for number, (r, c) in enumerate(product(range(len(rows)), range(len(columns)))):
            window = _window(read, rows, r, columns, c)[None]
            try:
                network(window, number, [(rows.core(r), columns.core(c))])
            except _Measured:
                advance(_part(k, network.norms))
            else:
                return found  # the first window came through: there is no k-th layer
        found = [*found, network.moments[k].statistics()]
    raise AssertionError("unreachable: count() has no end")


def _sampled(network: _Network, read: Read, tiling: Tiling, advance: Advance) -> Found:
    rows, columns = tiling.sampled
    network.measure([], first=0)
    for number, batch in enumerate(_batches(tiling)):
        windows = torch.stack([_window(read, rows, r, columns, c) for r, c in batch])
        network(windows, number, [(rows.core(r), columns.core(c)) for r, c in batch])
        advance(len(batch) * _size_of_sampled(tiling))
    return [network.moments[k].statistics() for k in sorted(network.moments)]


def _batches(tiling: Tiling) -> list[list[tuple[int, int]]]:
    """Row and column of the windows to sample: all, where they are no more than MOST and take no longer than half as
    long again as translating does. A batch takes as much memory as a window that is translated."""
    rows, columns = tiling.sampled
    size = max(BATCH, int(1 / _size_of_sampled(tiling)))
    most = min(MOST, max(size, int(1.5 * len(tiling) / _size_of_sampled(tiling))))
    down = min(len(rows), max(1, round(math.sqrt(most * len(rows) / len(columns)))))
    across = min(len(columns), max(1, most // down))
    down = min(len(rows), max(1, most // across))
    batches: list[list[tuple[int, int]]] = [[] for _ in range(max(1, down * across // size))]
    # Each batch is a slanted lattice over all of the picture.
    slant = round(0.382 * len(batches))
    while math.gcd(slant, len(batches)) > 1:
        slant += 1
    for i in range(down):
        # Anywhere in its stratum, as evenly as two irrational steps are: centres would lean to one side where there are
        # few windows, and meet what repeats in the picture at the same place every time.
        r = int((i + (0.5 + i * 0.618034) % 1) * len(rows) / down)
        shift = (0.5 + i * 0.754878) % 1
        for j in range(across):
            batches[(j + slant * i) % len(batches)].append((r, int((j + shift) * len(columns) / across)))
    return batches


Core = tuple[tuple[int, int], tuple[int, int]]
"""(top, bottom), (left, right) of a window's core, from the window's corner."""


class _Measured(Exception):
    """Ends a forward whose last layer of interest has been measured."""


class _Moments:
    """Mean and sum of squared distances to it of each channel, merged part by part (Chan, Golub & LeVeque 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = self.squares = torch.zeros((), dtype=torch.float64)

    def add(self, n: int, mean: Tensor, squares: Tensor) -> None:
        apart, total = mean - self.mean, self.n + n
        self.mean = self.mean + apart * (n / total)
        self.squares = self.squares + squares + apart.square() * (self.n * n / total)
        self.n = total

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, which is what norm layers divide by; float32 [C]."""
        return self.mean.float(), (self.squares / self.n).float()


class _Network:
    """A network whose norm layers, while this is entered, normalise by the statistics `found`, in the order in which
    they are called. `found` None: by their own, as ever.
    """

    def __init__(self, network: nn.Module, norms: Sequence[nn.Module], seed: int) -> None:
        self.network, self.norms, self.seed = network, norms, seed
        weight = next(network.parameters(), None)
        self.device = torch.device("cpu") if weight is None else weight.device
        self.found: Found | None = None
        self.first, self.last = math.inf, math.inf
        self.moments: defaultdict[int, _Moments] = defaultdict(_Moments)
        self.called, self.size, self.cores = 0, (1, 1), ()

    def __enter__(self) -> _Network:
        for module in self.norms:
            # Not by a hook: the layer's own forward would run as well, and a batch norm would count the window.
            module.forward = partial(self._normalised, module)
        return self

    def __exit__(self, *error: object) -> None:
        for module in self.norms:
            del module.forward

    def measure(self, found: Found, first: int, last: float = math.inf) -> None:
        """From now on, measure the layers from the `first` to the `last` called, and end a forward there. A layer
        that nothing is found for yet is normalised by the cores of its batch.
        """
        self.found, self.first, self.last = found, first, last
        self.moments.clear()

    def __call__(self, x: Tensor, number: int, cores: Sequence[Core] = ()) -> Tensor:
        """x [N, C, h, w] with a core each -> [N, C', h, w]. Its noise hangs on the seed and the `number`. No core: do
        not measure."""
        self.called, self.size, self.cores = 0, (x.shape[2], x.shape[3]), cores
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % (1 << 63))
        with torch.inference_mode(), masks_of(self.network, generator):
            return self.network(x.to(self.device))

    def _normalised(self, module: Any, x: Tensor) -> Tensor:
        if self.found is None:
            return type(module).forward(module, x)
        k = self.called
        self.called += 1
        batch = self._measured(x, k) if self.cores and k >= self.first else None
        if k == self.last:
            raise _Measured
        mean, var = self.found[k] if batch is None or k < len(self.found) else batch.statistics()
        mean, var = mean.to(x.device), var.to(x.device)
        return F.batch_norm(x, mean, var, module.weight, module.bias, training=False, eps=module.eps)

    def _measured(self, x: Tensor, k: int) -> _Moments:
        """The moments of the batch's cores, which are added to those of the k-th layer called."""
        batch = _Moments()
        for row, core in zip(x, self.cores, strict=True):
            (top, bottom), (left, right) = (
                [_scaled(edge, features, pixels) for edge in side]
                for side, features, pixels in zip(core, x.shape[2:], self.size, strict=True)
            )
            values = row[:, top:bottom, left:right].float().flatten(1)
            var, mean = torch.var_mean(values, dim=1, correction=0)
            n = values.shape[1]
            batch.add(n, mean.cpu().double(), var.cpu().double() * n)  # not on the device: MPS has no float64
        self.moments[k].add(batch.n, batch.mean, batch.squares)
        return batch


def _scaled(edge: int, features: int, pixels: int) -> int:
    """Where the edge of a core lies in a feature map: nothing is counted twice or left out."""
    scaled, rest = divmod(edge * features, pixels)
    if rest:
        raise ValueError(f"{features} features of {pixels} pixels: pixel {edge} lies within one")
    return scaled
