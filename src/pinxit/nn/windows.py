"""Windows of a label map that are alike, found once: what a convolution of a label map has to compute, and no more.

A convolution over one-hot labels gives the same numbers wherever the labels in its window are the same, and so does a
convolution over what the first one gives, of wider windows. Real maps have few distinct windows, painted ones very few.
So each is computed once, and every pixel takes the row of its window. That is exact: a sum of table rows in place of
products with zeros and ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OUTSIDE = -1
"""What lies beyond the picture's edge, where convolutions see zeros."""


@dataclass(frozen=True)
class Windows:
    """The distinct windows of maps, of a convolution's size and of two convolutions' in a row.

    `small` [S, k * k]: the code at each place of a window, row by row, or `OUTSIDE`.
    `large` [L, k * k]: likewise, of the wider ones, the row of `small` at each place.
    `index` [N * H * W]: the row of `large` of each pixel.
    """

    small: Tensor
    large: Tensor
    index: Tensor


def find_windows(codes: Tensor, kernel: int = 3) -> Windows:
    """codes [N, H, W] int64, from 0 to below 2^31 -> the windows of all N maps together; `kernel` is odd."""
    places, small = distinct(codes, kernel)
    index, large = distinct(places, kernel)
    return Windows(small, large, index.flatten())


def distinct(values: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """values [N, H, W] int64, from 0 to below 2^31 -> which window each place has [N, H, W]; the windows [U, k * k]."""
    if kernel == 1:
        found, index = torch.unique(values, return_inverse=True)
        return index, found[:, None]
    height, width = values.shape[1:]
    inside = F.pad(values + 1, [kernel // 2] * 4)  # so that 0 is OUTSIDE
    lines, index = _numbered([inside[:, :, x : x + width] for x in range(kernel)])
    columns, index = _numbered([index[:, y : y + height] for y in range(kernel)])
    return index, lines[columns].flatten(1) + OUTSIDE


@dataclass(frozen=True)
class Edit:
    """How the windows of maps that were changed in a part follow from those they had: of the rows there were, `kept`
    [K] stay in this order, then come those of `fresh`. Its index, of all pixels, is into the rows so joined."""

    kept: Tensor
    fresh: Windows


def edited_windows(
    before: Tensor, now: Tensor, index: Tensor, rows: int, kernel: int = 3, *, everywhere: bool = False
) -> Edit | None:
    """codes [N, H, W] of the maps before and now, the index [N * H * W] into the `rows` rows before -> what changes, or
    None where nothing does.

    Only what lies around the changed pixels is looked at. So a new window may be alike to one elsewhere and get a row
    of its own; with `everywhere` all is looked at and rows of windows that are alike become one. Rows that no pixel has
    are dropped.
    """
    different = (before != now).any(dim=0)
    if not (everywhere or different.any()):
        return None
    reach = 2 * (kernel // 2)
    height, width = different.shape
    inner, outer = [slice(0, height), slice(0, width)], [slice(0, height), slice(0, width)]
    if not everywhere:
        for side, length in enumerate((height, width)):
            touched = different.any(dim=1 - side).nonzero()
            low, high = int(touched[0]), int(touched[-1]) + 1
            inner[side] = slice(max(low - reach, 0), min(high + reach, length))
            # What lies farther is not seen by a window of the inner part.
            outer[side] = slice(max(low - 2 * reach, 0), min(high + 2 * reach, length))
    both = find_windows(torch.cat([part[:, outer[0], outer[1]] for part in (before, now)]), kernel)
    down, right = (i.start - o.start for i, o in zip(inner, outer, strict=True))
    size = [side.stop - side.start for side in (*outer, *inner)]
    found = both.index.view(2, -1, size[0], size[1])[:, :, down : down + size[2], right : right + size[3]]

    places = index.view(before.shape).clone()
    here = places[:, inner[0], inner[1]]
    row = torch.full((len(both.large),), -1)
    row[found[0].flatten()] = here.flatten()
    wanted = torch.unique(found[1])
    new = wanted[row[wanted] < 0]
    row[new] = rows + torch.arange(len(new))
    here.copy_(row[found[1]])

    used = torch.bincount(places.flatten(), minlength=rows + len(new)) > 0
    number = used.cumsum(0) - 1
    large = both.large[new]
    some = torch.unique(large)
    some = some[some != OUTSIDE]
    renumbered = torch.full((len(both.small) + 1,), OUTSIDE)  # OUTSIDE is the last one's, too
    renumbered[some] = torch.arange(len(some))
    fresh = Windows(both.small[some], renumbered[large], number[places].flatten())
    return Edit(used[:rows].nonzero()[:, 0], fresh)


def _numbered(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Equal shaped parts -> the distinct tuples of their values [U, parts], and which of them is at each place.

    Values are packed into one number, which sorts several times faster than rows do. Where they do not fit in 63 bits,
    the first ones are numbered on their own before the rest joins them.
    """
    base = int(max(part.max() for part in parts)) + 1
    key, bound, packed = parts[0], base, [parts[0]]
    for i, part in enumerate(parts[1:], 1):
        if bound * base >= 1 << 63:
            before, index = _numbered(parts[:i])
            pairs, index = _numbered([index, *parts[i:]])
            return torch.cat([before[pairs[:, 0]], pairs[:, 1:]], dim=1), index
        key, bound = key * base + part, bound * base
        packed.append(part)
    found, index = torch.unique(key, return_inverse=True)
    columns = []
    for _ in packed:
        columns.append(found % base)
        found = found // base
    return torch.stack(columns[::-1], dim=1), index


def summed(table: Tensor, windows: Tensor) -> Tensor:
    """A convolution of windows: table [k * k, V + 1, C], its last row of each place being OUTSIDE's; windows [U, k * k]
    of 0..V - 1 or `OUTSIDE` -> [U, C], the sum over the places of the rows that are there."""
    places, rows, channels = table.shape
    offsets = torch.arange(places, device=windows.device) * rows
    chosen = torch.where(windows == OUTSIDE, rows - 1, windows) + offsets
    return F.embedding_bag(chosen, table.reshape(-1, channels), mode="sum")


class LabelConv:
    """A convolution of a map of codes, as a sum of table rows.

    `table` [k * k, codes, C]: the weights at each place of the window, row by row, of each code; `bias` [C].
    """

    def __init__(self, table: Tensor, bias: Tensor) -> None:
        self.kernel = math.isqrt(len(table))
        self.table = torch.cat([table, torch.zeros_like(table[:, :1])], dim=1)
        self.bias = bias.clone()

    def rows(self, windows: Tensor) -> Tensor:
        """windows [U, k * k] -> [U, C]."""
        return summed(self.table, windows) + self.bias

    def __call__(self, codes: Tensor) -> Tensor:
        """codes [N, H, W] int64 -> [N, C, H, W], channels last."""
        index, windows = distinct(codes, self.kernel)
        return self.rows(windows)[index].permute(0, 3, 1, 2)
