from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from pinxit.errors import PinxitError
from pinxit.models.stylegan2.config import PRESETS
from pinxit.models.stylegan2.generate import Directions, Model, load, on_curve, read_directions
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe

NETWORK = PRESETS["tiny"].network


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return load(StyleGAN2Recipe(NETWORK, PRESETS["tiny"].training).model_file())


def far(a: Image.Image, b: Image.Image) -> int:
    return int(np.asarray(ImageChops.difference(a, b)).max())


def test_a_seed_has_one_picture_alone_or_in_a_batch(model: Model) -> None:
    several = model.sample(10, seed=5)
    assert len(several) == 10
    assert several[0].size == (32, 32)
    assert far(several[9], model.sample(1, seed=14)[0]) <= 1
    assert far(several[0], several[1]) > 1


def test_truncation(model: Model) -> None:
    assert far(model.sample(1, 1, 0.0)[0], model.sample(1, 2, 0.0)[0]) == 0
    torch.testing.assert_close(model.w(3, 0.5), model.mean + 0.5 * (model.w(3) - model.mean))
    with pytest.raises(PinxitError, match=r"^truncation is 7, expected -2\.\.2"):
        model.w(0, 7)


def test_mixing_goes_from_one_to_the_other(model: Model) -> None:
    coarse, fine = model.sample(1, 1)[0], model.sample(1, 2)[0]
    assert far(model.mix(1, 2, 8), coarse) <= 1
    assert far(model.mix(1, 2, 0), fine) <= 1
    assert far(model.mix(1, 2), coarse) > 1
    with pytest.raises(PinxitError, match=r"^at is 9, expected 0\.\.8"):
        model.mix(1, 2, 9)


def test_interpolation_passes_the_seeds(model: Model) -> None:
    loop = list(model.interpolate([1, 2, 3], 4))
    assert len(loop) == 12
    once = list(model.interpolate([1, 2, 3], 4, loop=False))
    assert len(once) == 9
    for i, seed in enumerate((1, 2, 3)):
        picture = model.sample(1, seed)[0]
        assert far(loop[4 * i], picture) <= 1
        assert far(once[4 * i], picture) <= 1
    with pytest.raises(PinxitError, match=r"^the interpolation is 1 seeds"):
        model.interpolate([1])


def test_the_curve_is_smooth() -> None:
    knots = torch.randn(4, 3, dtype=torch.float64)
    near = [
        (on_curve(knots, i + d, True) - on_curve(knots, i - d, True)) / (2 * d) for i in (1, 2) for d in (1e-3, 1e-5)
    ]
    torch.testing.assert_close(near[0], near[1], atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(near[2], near[3], atol=1e-2, rtol=1e-2)


def test_principal_directions(model: Model) -> None:
    """Orthogonal, of length 1, and w spreads along them as they say."""
    found = model.principal(4)
    torch.testing.assert_close(found.vectors @ found.vectors.t(), torch.eye(4), atol=1e-4, rtol=0)
    assert found.deviations.tolist() == sorted(found.deviations.tolist(), reverse=True)
    w = torch.stack([model.w(seed) for seed in range(400)])
    torch.testing.assert_close((w @ found.vectors.t()).std(dim=0), found.deviations, rtol=0.15, atol=1e-3)


def test_edits(model: Model) -> None:
    found, w = model.principal(2), model.w(1)
    still = next(model.pictures([w]))
    assert far(model.edit(w, found, [0.0]), still) == 0
    assert far(model.edit(w, found, [2.0, -1.0]), still) > 0
    assert far(model.edit(w, found, [2.0], (7, 8)), model.edit(w, found, [2.0])) > 0
    with pytest.raises(PinxitError, match=r"^strengths is 3"):
        model.edit(w, found, [1, 1, 1])
    with pytest.raises(PinxitError, match=r"^directions is of 5 numbers, expected 8"):
        model.edit(w, Directions(torch.zeros(1, 5), torch.ones(1)), [1])
    with pytest.raises(PinxitError, match=r"^layers is 3 3"):
        model.edit(w, found, [1.0], (3, 3))


def test_reads_published_directions_and_nothing_pickled(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 1, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", act_comp=vectors, act_stdev=np.array([3.0, 2, 1]), act_mean=np.zeros((1, 8)))
    found = read_directions(tmp_path / "a.npz")
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(3))
    assert found.deviations.tolist() == [3, 2, 1]
    writes: dict[str, tuple[Callable[[Path], object], str]] = {
        "pickled": (lambda p: np.savez(p, act_comp=np.array([{}]), act_stdev=np.ones(1)), "damaged, or pickled"),
        "lacking": (lambda p: np.savez(p, act_comp=vectors), "without"),
        "uneven": (lambda p: np.savez(p, act_comp=vectors, act_stdev=np.ones(2)), "of 3 directions and 2 deviations"),
        "damaged": (lambda p: p.write_bytes(b"PK\x03\x04 no more"), "damaged"),
    }
    for name, (write, told) in writes.items():
        write(tmp_path / f"{name}.npz")
        with pytest.raises(PinxitError, match=told):
            read_directions(tmp_path / f"{name}.npz")
    with pytest.raises(PinxitError, match="not there"):
        read_directions(tmp_path / "none.npz")


@pytest.mark.parametrize("plus", [False, True])
def test_projection_finds_a_picture_of_its_own(model: Model, plus: bool) -> None:
    target = model.sample(1, seed=77, truncation=0.9)[0]
    found = model.project(target, steps=60, plus=plus)
    assert found.w.shape == ((8, 8) if plus else (8,))
    start = model.project(target, steps=1)
    assert found.distance < 0.85 * start.distance
    assert model.project(target, steps=5, plus=plus).distance == model.project(target, steps=5, plus=plus).distance
