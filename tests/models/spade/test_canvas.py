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
from pinxit.models.spade.fast import FastUnit
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
    return Model(model_file(c))


def model_file(c: Network) -> ModelFile:
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
    return ModelFile("spade", dataclasses.asdict(c), tensors)


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
    assert canvas.tables is None
    assert prepared.tables is not None
    styles = [3, np.linspace(-1, 1, 5, dtype=np.float32), Image.new("RGB", (20, 30), "teal"), 3]
    for style in styles if painter.network.vae else [0, 0]:
        plain = painter.paint(map, style, instances)
        assert plain.size == size[::-1]
        assert same(painter.paint_on(canvas, style), plain)
        assert same(painter.paint_on(prepared, style), plain)


def levels_apart(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of two pictures' 8-bit values."""
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (70, 45), (1, 1)])
@pytest.mark.filterwarnings("ignore:the map is")
def test_a_canvas_like_another_takes_from_it_what_is_the_same(change: dict, size: tuple[int, int]) -> None:
    painter = model(dataclasses.replace(TINY, **change))
    like = painter.prepared(painter.canvas(patches(*size, seed=1)))
    for step, label in ((20, 2), (9, 0), (1000, 1), (1000, 1)):
        map = patches(*size, seed=1)
        map[step // 3 : step, step // 5 : step // 2] = label
        map[-1, -1] = label
        canvas = painter.canvas(map)
        prepared = painter.prepared(canvas, like)
        assert prepared.tables is not None
        # The same but for rounding, which may carry a value over the border between two levels.
        assert levels_apart(painter.paint_on(prepared, 3), painter.paint(map, 3)) <= 1
        assert painter.prepared(prepared, like) is prepared
        like = prepared
    other = painter.canvas(patches(128, 64))
    assert same(painter.paint_on(painter.prepared(other, like), 3), painter.paint(patches(128, 64), 3))


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (70, 45)])
def test_a_canvas_that_would_take_too_much_memory_stays_unprepared(change: dict, size: tuple[int, int]) -> None:
    painter = model(dataclasses.replace(TINY, **change))
    canvas = painter.canvas(patches(*size))
    assert painter.bytes_prepared(canvas) == 0
    prepared = painter.prepared(canvas)
    taken = painter.bytes_prepared(prepared)
    assert prepared.tables is not None
    tables = [part for _, rows in prepared.tables.blocks for unit in rows for part in (unit.scale, unit.shift)]
    assert (
        sum(table.nbytes for table in tables)
        < taken
        < sum(table.nbytes for table in tables) + 60 * canvas.labels.nbytes
    )
    assert painter.prepared(canvas, None, taken).tables is not None
    assert painter.prepared(canvas, None, 1000).tables is None


def test_all_that_hangs_on_the_map_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = model(TINY)
    prepared = painter.prepared(painter.canvas(patches(64, 64)))
    calls = []
    plain = FastUnit.rows
    monkeypatch.setattr(FastUnit, "rows", lambda *a: (calls.append(1), plain(*a))[1])
    painter.paint_on(prepared, 1)
    assert calls == []
    painter.paint(patches(64, 64), 1)
    units = 2 * 3 + 3 * 4
    assert len(calls) == units
    calls.clear()
    assert len(painter.variations(patches(64, 64), 3)) == 3
    assert len(calls) == units


def test_painting_in_bf16_is_close_and_its_encoder_stays_fp32() -> None:
    painter = model(TINY)
    rough = Model(model_file(TINY), precision="bf16")
    photo = Image.new("RGB", (20, 30), "teal")
    np.testing.assert_array_equal(painter.style(photo), rough.style(photo))
    a, b = (np.asarray(m.paint(patches(64, 64), photo), np.float64) for m in (painter, rough))
    assert 0 < np.abs(a - b).mean() < 0.05 * a.std()


def test_a_model_does_not_hold_its_weights_twice() -> None:
    painter = model(TINY)
    assert painter.file.tensors == {}
    assert painter.file.method == "spade"


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
