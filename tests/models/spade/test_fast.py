"""The fast generator computes what the plain one does: on any map, with any options, after any edits."""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pinxit.models.spade import fast
from pinxit.models.spade.config import UPSAMPLINGS, Network
from pinxit.models.spade.fast import Canvas, FastGenerator
from pinxit.models.spade.network import Generator
from pinxit.nn.norm import SpectralConv2d

TINY = Network(labels=3, unknown=True, size=(64, 64), width=2, hidden=5, z_dim=5)


@functools.cache
def plain(c: Network, dtype: torch.dtype = torch.float64) -> Generator:
    """Random weights with statistics as training leaves them, so that activations are of the size they have then."""
    torch.manual_seed(0)
    G = Generator(c)
    noise = torch.Generator().manual_seed(1)
    for name, buffer in G.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=noise))
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=noise)
    for module in G.modules():
        if isinstance(module, SpectralConv2d):
            for _ in range(10):
                module.normalized_weight()
    return G.to(dtype).eval().requires_grad_(False)


def painted(c: Network, *arguments: Tensor | None, dtype: torch.dtype = torch.float64) -> Tensor:
    """By the plain generator; its one-hot maps are of the default type."""
    G = plain(c, dtype)
    torch.set_default_dtype(dtype)
    try:
        with torch.inference_mode():
            return G(*arguments)
    finally:
        torch.set_default_dtype(torch.float32)


@functools.cache
def quick(c: Network, dtype: torch.dtype = torch.float64) -> FastGenerator:
    return FastGenerator(plain(c, torch.float64 if dtype == torch.float64 else torch.float32), dtype)


def noise_map(height: int, width: int, labels: int, seed: int, patch: int = 1, n: int = 1) -> Tensor:
    """Patches of `patch` pixels a side of random labels; of 1, noise, of which nearly every window is distinct."""
    coarse = np.random.default_rng(seed).integers(0, labels, (n, -(-height // patch), -(-width // patch)))
    return torch.from_numpy(np.kron(coarse, np.ones((1, patch, patch), np.int64))[:, :height, :width])


def style(c: Network, n: int, seed: int = 0) -> Tensor | None:
    return torch.randn(n, c.z_dim, generator=torch.Generator().manual_seed(seed)).double() if c.vae else None


def worst(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a.double() - b.double()).abs().max())


NETWORKS = st.builds(
    Network,
    labels=st.sampled_from([1, 2, 7]),
    unknown=st.booleans(),
    instances=st.booleans(),
    size=st.just((128, 128)),
    upsamplings=st.sampled_from(list(UPSAMPLINGS)),
    width=st.just(2),
    norm=st.sampled_from(["sync_batch", "batch", "instance"]),
    norm_at_test=st.sampled_from(["running", "batch"]),
    kernel=st.sampled_from([1, 3, 5]),
    hidden=st.just(5),
    spectral=st.booleans(),
    vae=st.booleans(),
    z_dim=st.just(4),
)


def maps_of(c: Network, height: int, width: int, n: int, seed: int, patch: int) -> tuple[Tensor, Tensor]:
    labels = noise_map(height, width, c.labels + c.unknown, seed, patch, n)
    return labels, noise_map(height, width, 4, seed + 1, max(patch - 1, 1), n)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    c=NETWORKS,
    blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    n=st.integers(1, 3),
    seed=st.integers(0, 99),
    patch=st.sampled_from([1, 3, 16, 200]),
)
def test_pictures_are_those_of_the_plain_generator(c, blocks, n, seed, patch) -> None:
    """Batches of maps of noise, of patches and of one label, of any size the network takes."""
    step = 1 << UPSAMPLINGS[c.upsamplings]
    own_statistics = c.norm == "instance" or c.norm_at_test == "batch"
    height, width = (max(b, 2) * step if own_statistics else b * step for b in blocks)  # 1 pixel has no statistics
    if height * width * n > 300_000:
        n = 1
    labels, instances = maps_of(c, height, width, n, seed, patch)
    z = style(c, n, seed)
    wanted = painted(c, labels, instances, z)
    G = quick(c)
    assert worst(G(labels, instances, z), wanted) < 1e-9
    canvas = G.canvas(labels, instances)
    assert canvas is not None
    assert worst(G.paint(canvas, z), wanted) < 1e-9


@pytest.mark.parametrize(
    "change",
    [{}, {"vae": True}, {"instances": True, "norm": "instance"}, {"norm_at_test": "batch"}, {"hidden": 128}],
    ids=str,
)
@pytest.mark.parametrize("patch", [1, 9])
def test_in_fp32_and_bf16(change: dict, patch: int) -> None:
    c = dataclasses.replace(TINY, width=20, **change)  # the first blocks are wide enough for Winograd's way
    labels, instances = maps_of(c, 96, 160, 1, 3, patch)
    z = style(c, 1)
    z = None if z is None else z.float()
    wanted = painted(c, labels, instances, z, dtype=torch.float32)
    assert wanted.abs().mean() > 0.01
    assert worst(quick(c, torch.float32)(labels, instances, z), wanted) < 1e-5
    rounded = quick(c, torch.bfloat16)(labels, instances, z)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - wanted).abs().mean() < 0.04 * wanted.std()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_maps_of_too_many_windows_take_the_way_that_needs_little_memory(dtype, monkeypatch) -> None:
    c = dataclasses.replace(TINY, hidden=8, width=4)
    labels = noise_map(128, 128, 4, 0)
    usual = quick(c, dtype)(labels)
    monkeypatch.setattr(fast, "MOST_GIVEN", 1000)
    monkeypatch.setattr(fast, "CHUNK", 1000)
    limit = 1e-9 if dtype == torch.float64 else 1e-5
    assert worst(quick(c, dtype)(labels), usual) < limit
    assert worst(usual, painted(c, labels, dtype=dtype)) < limit


def test_many_styles_of_a_canvas_at_once() -> None:
    c = dataclasses.replace(TINY, vae=True)
    labels = noise_map(64, 96, 4, 0, 8, n=2)
    G = quick(c)
    canvas = G.canvas(labels)
    assert canvas is not None
    z = style(c, 6)
    assert z is not None
    wanted = torch.cat([painted(c, labels, None, pair) for pair in z.split(2)])
    assert worst(G.paint(canvas, z), wanted) < 1e-9


def test_no_more_than_the_memory_allowed_is_taken() -> None:
    G = quick(dataclasses.replace(TINY, vae=True))
    labels = noise_map(64, 64, 4, 0, 8)
    canvas = G.canvas(labels)
    assert canvas is not None
    tables = sum(unit.scale.nbytes + unit.shift.nbytes for _, rows in canvas.blocks for unit in rows)
    assert tables < canvas.nbytes < 1.2 * tables + 64 * 64 * 8 * 3
    assert G.canvas(labels, most=tables) is not None
    assert G.canvas(labels, most=tables - 1) is None
    noise = noise_map(64, 64, 4, 0)
    assert G.edited(canvas, noise, most=tables) is None
    assert G.edited(canvas, labels, most=tables) is not None


def rows_of(canvas: Canvas) -> int:
    return sum(len(unit.scale) for _, rows in canvas.blocks for unit in rows)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    change=st.fixed_dictionaries(
        {},
        optional={
            "instances": st.just(True),
            "vae": st.just(True),
            "norm": st.just("instance"),
            "kernel": st.sampled_from([1, 5]),
            "upsamplings": st.sampled_from(["more", "most"]),
        },
    ),
    n=st.integers(1, 2),
    patch=st.sampled_from([2, 30, 500]),
    strokes=st.lists(
        st.tuples(
            st.integers(-40, 250), st.integers(-40, 250), st.integers(1, 90), st.integers(1, 90), st.integers(0, 3)
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_edits_in_sequence_are_as_a_fresh_computation(change, n, patch, strokes) -> None:
    c = dataclasses.replace(TINY, size=(128, 128), **change)
    G = quick(c)
    labels, instances = maps_of(c, 128, 256, n, 0, patch)
    canvas = G.canvas(labels, instances)
    z = style(c, n)
    for y, x, height, width, label in strokes:
        labels, instances = labels.clone(), instances.clone()
        part = (-1, slice(max(y, 0), max(y + height, 0)), slice(max(x, 0), max(x + width, 0)))
        labels[part], instances[part] = label, 7 + label
        before = canvas
        assert before is not None
        kept = [unit.scale.clone() for _, rows in before.blocks for unit in rows]
        canvas, new = G.edited(before, labels, instances), G.canvas(labels, instances)
        assert canvas is not None
        assert new is not None
        assert worst(G.paint(canvas, z), G.paint(new, z)) < 1e-12
        assert all(
            torch.equal(a, unit.scale)
            for a, unit in zip(kept, (u for _, rows in before.blocks for u in rows), strict=True)
        )
    assert canvas is not None
    assert worst(G.paint(canvas, z), painted(c, labels, instances, z)) < 1e-9


def test_an_edit_that_changes_nothing_costs_nothing_and_one_taken_back_leaves_what_was() -> None:
    c = dataclasses.replace(TINY, size=(128, 128))
    G = quick(c)
    labels = noise_map(128, 128, 3, 0, 20)
    canvas = G.canvas(labels)
    assert canvas is not None
    same = G.edited(canvas, labels.clone())
    assert same is not None
    assert all(
        a is b for (_, x), (_, y) in zip(canvas.blocks, same.blocks, strict=True) for a, b in zip(x, y, strict=True)
    )
    other = labels.clone()
    other[:, 40:60, 30:90] = 3
    changed = G.edited(canvas, other)
    assert changed is not None
    back = G.edited(changed, labels)
    assert back is not None
    assert worst(G.paint(back), G.paint(canvas)) < 1e-12


def test_tables_do_not_grow_without_bound() -> None:
    """The same few windows are painted again and again, each time in another place."""
    c = dataclasses.replace(TINY, size=(128, 128))
    G = quick(c)
    labels = torch.zeros(1, 256, 256, dtype=torch.int64)
    canvas = G.canvas(labels)
    rng = np.random.default_rng(0)
    most = 0.0
    for _ in range(60):
        labels = labels.clone()
        y, x = rng.integers(0, 250, 2)
        labels[:, y : y + 6, x : x + 6] = int(rng.integers(0, 4))
        assert canvas is not None
        canvas = G.edited(canvas, labels)
        assert canvas is not None
        per_height = {len(index): len(rows[0].scale) for index, rows in canvas.blocks}
        for height, distinct in canvas.distinct.items():
            most = max(most, per_height[height * height] - 1.5 * distinct - 256)
    new = G.canvas(labels)
    assert new is not None
    assert canvas is not None
    fresh = rows_of(new)
    assert most < 200  # one stroke's more, and it would be looked at as a whole
    assert rows_of(canvas) < 2 * fresh + 256 * 20
    assert worst(G.paint(canvas), G.paint(new)) < 1e-12


@pytest.mark.parametrize("change", [{}, {"norm": "instance"}], ids=str)
def test_it_holds_nothing_that_painting_changes(change: dict) -> None:
    c = dataclasses.replace(TINY, **change)
    G = quick(c)
    labels = noise_map(64, 64, 4, 0, 8)
    canvas = G.canvas(labels)
    assert canvas is not None
    first = G.paint(canvas)
    G(noise_map(128, 64, 4, 5))
    assert torch.equal(G.paint(canvas), first)
    assert torch.equal(G(labels), first)


def test_several_threads_paint_at_once() -> None:
    """Memory that is used again belongs to one picture at a time."""
    painter = FastGenerator(plain(TINY))
    maps = [noise_map(64, 64, 3, seed) for seed in range(4)]
    alone = [painter(labels, None, style(TINY, 1)) for labels in maps]
    canvases = [painter.canvas(labels) for labels in maps]

    def paint(i: int) -> bool:
        canvas = canvases[i % 4]
        assert canvas is not None
        again = painter(maps[i % 4], None, style(TINY, 1)), painter.paint(canvas, style(TINY, 1))
        return all(worst(picture, alone[i % 4]) < 1e-12 for picture in again)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(paint, range(40)))
    assert 1 <= len(painter.desks) <= 4


def test_large_memory_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = FastGenerator(plain(TINY))
    painter(noise_map(64, 64, 3, 0), None, style(TINY, 1))
    (desk,) = painter.desks
    monkeypatch.setattr(fast, "MOST_KEPT", desk.nbytes)
    painter(noise_map(128, 64, 3, 0), None, style(TINY, 1))
    assert painter.desks == []
