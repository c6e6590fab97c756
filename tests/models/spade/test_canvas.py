"""A canvas: what hangs on the map alone, computed once, gives the pictures of plain painting to the last bit."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.spade.config import Network
from pinxit.models.spade.generate import Model
from pinxit.models.spade.network import Encoder, Generator

TINY = Network(labels=3, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5, unknown=True)
CHANGES = [
    {},
    {"vae": False},
    {"instances": True, "norm": "instance"},
    {"norm_at_test": "batch", "kernel": 5},
    {"upsamplings": "more", "spectral": False},
    {"upsamplings": "most", "vae": False, "kernel": 1},
]


def model(c: Network) -> Model:
    """Random weights that have seen a few batches, so that running statistics are not a fresh net's."""
    torch.manual_seed(0)
    G, E = Generator(c), Encoder(c)
    with torch.no_grad():
        for seed in range(10):
            labels = torch.from_numpy(np.stack([patches(128, 128, 2 * seed + i) for i in range(2)]))
            G(labels, labels, torch.randn(2, c.z_dim))
    tensors = {f"G.{k}": v for k, v in G.state_dict().items()}
    if c.vae:
        tensors |= {f"E.{k}": v for k, v in E.state_dict().items()}
    return Model(ModelFile("spade", dataclasses.asdict(c), tensors))


def patches(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 4, (-(-height // 8), -(-width // 8)))
    return np.kron(coarse, np.ones((8, 8), np.int64))[:height, :width]


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (70, 45), (1, 1)])
@pytest.mark.filterwarnings("ignore:the map is")
def test_pictures_of_a_canvas_are_those_of_its_map_to_the_last_bit(change: dict, size: tuple[int, int]) -> None:
    painter = model(dataclasses.replace(TINY, **change))
    map = patches(*size, seed=1)
    instances = patches(*size, seed=2) + 70_000
    canvas = painter.canvas(map, instances)
    prepared = painter.prepared(canvas)
    assert canvas.modulations is None
    assert prepared.modulations is not None
    styles = [3, np.linspace(-1, 1, 5, dtype=np.float32), Image.new("RGB", (20, 30), "teal"), 3]
    for style in styles if painter.network.vae else [0, 0]:
        plain = painter.paint(map, style, instances)
        assert plain.size == size[::-1]
        assert same(painter.paint_on(canvas, style), plain)
        assert same(painter.paint_on(prepared, style), plain)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_generator_paints_batches_by_modulations_as_by_maps(change: dict) -> None:
    """Also the numbers before they are rounded to pixels."""
    c = dataclasses.replace(TINY, **change)
    G = model(c).G
    labels = torch.from_numpy(np.stack([patches(128, 256, seed) for seed in range(2)]))
    with torch.inference_mode():
        modulations = G.modulations(labels, labels)
        for seed in range(2):
            z = torch.randn(2, c.z_dim, generator=torch.Generator().manual_seed(seed)) if c.vae else None
            assert torch.equal(G.paint(modulations, z), G(labels, labels, z))


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (70, 45)])
def test_the_memory_of_a_prepared_canvas_is_known_before(change: dict, size: tuple[int, int]) -> None:
    painter = model(dataclasses.replace(TINY, **change))
    canvas = painter.canvas(patches(*size))
    m = painter.prepared(canvas).modulations
    assert m is not None
    tensors = [part for block in m.blocks for modulation in block for part in modulation]
    tensors += [] if m.start is None else [m.start]
    assert painter.bytes_prepared(canvas) == sum(tensor.nbytes for tensor in tensors)


def test_all_that_hangs_on_the_map_is_computed_once() -> None:
    painter = model(TINY)
    prepared = painter.prepared(painter.canvas(patches(64, 64)))
    calls = []
    for name, module in painter.G.named_modules():
        if name.endswith((".shared", ".gamma", ".beta")):
            module.register_forward_hook(lambda *_: calls.append(1))
    painter.paint_on(prepared, 1)
    assert calls == []
    painter.paint(patches(64, 64), 1)
    assert len(calls) == 3 * (6 + 3 * len(painter.G.up))


def test_a_canvas_is_checked_as_a_map_and_says_nothing_of_its_size() -> None:
    painter = model(TINY)
    with warnings.catch_warnings(action="error"):
        painter.paint_on(painter.canvas(patches(8, 200)))
    with pytest.raises(PinxitError, match=r"^label map is with index 5, expected 0\.\.2 or 3 \(unknown\); "):
        painter.canvas(np.full((8, 8), 5))
    with pytest.raises(PinxitError, match=r"^instance map is \(8, 9\), expected \(8, 8\)"):
        painter.canvas(np.zeros((8, 8), int), np.zeros((8, 9), int))


def test_a_canvas_is_its_own_copy_of_the_map() -> None:
    painter = model(TINY)
    map = patches(64, 64)
    canvas = painter.canvas(map)
    before = painter.paint_on(canvas)
    map[:] = 0
    assert same(painter.paint_on(canvas), before)
    assert not same(painter.paint(map), before)
