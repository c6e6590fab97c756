"""Windows found once give what convolutions give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pinxit.nn import windows
from pinxit.nn.windows import OUTSIDE, LabelConv, Windows, distinct, edited_windows, find_windows, summed

MAPS = st.builds(
    lambda n, height, width, codes, seed: torch.from_numpy(
        np.random.default_rng(seed).integers(0, codes, (n, height, width))
    ),
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([1, 2, 5, 1000]),
    st.integers(0, 1000),
)
KERNELS = st.sampled_from([1, 3, 5])


def around(codes: Tensor, kernel: int) -> Tensor:
    """The window of each pixel, slowly: [N * H * W, k * k]."""
    padded = F.pad(codes, [kernel // 2] * 4, value=OUTSIDE)
    return padded.unfold(1, kernel, 1).unfold(2, kernel, 1).flatten(3).flatten(0, 2)


def expanded(found: Windows, kernel: int) -> Tensor:
    """All that is in the wide window of each pixel: [N * H * W, k * k, k * k]; windows beyond the edge all OUTSIDE."""
    small = torch.cat([found.small, torch.full((1, kernel * kernel), OUTSIDE)])
    return small[found.large][found.index]


@settings(deadline=None, derandomize=True)
@given(MAPS, KERNELS)
def test_every_pixel_has_its_window_and_no_two_are_alike(codes: Tensor, kernel: int) -> None:
    index, found = distinct(codes, kernel)
    assert torch.equal(found[index.flatten()], around(codes, kernel))
    assert len(torch.unique(found, dim=0)) == len(found)

    both = find_windows(codes, kernel)
    assert len(torch.unique(both.large, dim=0)) == len(both.large)
    places = around(torch.arange(codes.numel()).view(codes.shape), kernel)
    of_places = torch.cat([around(codes, kernel), torch.full((1, kernel * kernel), OUTSIDE)])
    assert torch.equal(expanded(both, kernel), of_places[places])


def test_codes_too_large_to_be_packed() -> None:
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 1 << 30, (1, 9, 7)))
    index, found = distinct(codes, 5)
    assert torch.equal(found[index.flatten()], around(codes, 5))


@settings(deadline=None, derandomize=True)
@given(MAPS, KERNELS)
def test_a_convolution_of_labels_is_a_sum_of_rows(codes: Tensor, kernel: int) -> None:
    codes = codes % 5
    weight = torch.randn(4, 5, kernel, kernel, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bias = torch.arange(4.0, dtype=torch.float64)
    wanted = F.conv2d(F.one_hot(codes, 5).permute(0, 3, 1, 2).double(), weight, bias, padding=kernel // 2)
    conv = LabelConv(weight.permute(2, 3, 1, 0).flatten(0, 1), bias)
    torch.testing.assert_close(conv(codes), wanted, rtol=0, atol=1e-12)


def test_what_is_outside_adds_nothing() -> None:
    table = torch.ones(9, 4, 2)
    table[:, -1] = 0
    assert summed(table, torch.tensor([[0, 1, 2, 0, OUTSIDE, OUTSIDE, 1, 1, 1]])).tolist() == [[7.0, 7.0]]


@settings(deadline=None, derandomize=True)
@given(MAPS, KERNELS, st.lists(st.integers(0, 10_000), max_size=3), st.booleans())
def test_windows_of_edited_maps(before: Tensor, kernel: int, strokes: list[int], everywhere: bool) -> None:
    now = before.clone()
    for stroke in strokes:
        now.view(-1)[stroke % now.numel() :][: 1 + stroke % 5] = stroke % 3
    old = find_windows(before, kernel)
    edit = edited_windows(before, now, old.index, len(old.large), kernel, everywhere=everywhere)
    if edit is None:
        assert torch.equal(before, now)
        return
    rows = torch.cat([windows_of(old, kernel)[edit.kept], windows_of(edit.fresh, kernel)])
    new = find_windows(now, kernel)
    assert torch.equal(rows[edit.fresh.index], expanded(new, kernel))
    assert len(torch.unique(edit.fresh.index)) == len(rows)  # no row that no pixel has
    if everywhere:
        assert len(rows) == len(new.large)
    assert not (set_of(windows_of(edit.fresh, kernel)) & set_of(windows_of(old, kernel))) or not everywhere


def windows_of(found: Windows, kernel: int) -> Tensor:
    return torch.cat([found.small, torch.full((1, kernel * kernel), OUTSIDE)])[found.large]


def set_of(rows: Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in rows.flatten(1).tolist()}


def test_an_edit_looks_at_its_surroundings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[tuple[int, ...]] = []
    plain = windows.find_windows
    monkeypatch.setattr(
        windows, "find_windows", lambda codes, kernel: (looked.append(codes.shape), plain(codes, kernel))[1]
    )
    before = torch.zeros(2, 100, 100, dtype=torch.int64)
    now = before.clone()
    now[0, 50, 60:63] = 1
    old = plain(before)
    edit = edited_windows(before, now, old.index, len(old.large))
    assert edit is not None
    assert looked == [(4, 9, 11)]
    assert len(edit.fresh.large) == 5 * 7
