from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.models.gawwn.config import PRESETS
from pinxit.models.gawwn.generate import MIDDLE, Model, load
from pinxit.models.gawwn.recipe import GAWWNRecipe
from pinxit.text.training import Texts

TINY = PRESETS["tiny"]


def made(where: str) -> Model:
    torch.manual_seed(0)
    network = dataclasses.replace(TINY.network, where=where)
    recipe = GAWWNRecipe(network, TINY.training, Texts("built-in", network.text_dim))
    for p in recipe.G.parameters():  # weights that begin small make pictures that are nearly all alike
        p.data.mul_(3)
    return load(recipe.model_file())


@pytest.fixture(scope="module")
def boxed() -> Model:
    return made("box")


@pytest.fixture(scope="module")
def pointed() -> Model:
    return made("points")


def same(a: Image.Image, b: Image.Image) -> bool:
    """But for rounding, which differs with the number of pictures made together."""
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


def test_sentence_seed_and_box(boxed: Model) -> None:
    first = boxed.sample("a red bird", n=2, seed=5, box=MIDDLE)
    assert [picture.size for picture in first] == [(128, 128)] * 2
    assert same(first[0], boxed.sample("a red bird", seed=5)[0])
    assert same(first[1], boxed.sample("a red bird", seed=6)[0])
    assert not same(first[0], boxed.sample("a blue bird", seed=5)[0])
    assert not same(first[0], boxed.sample("a red bird", seed=5, box=(0, 0, 0.3, 0.3))[0])


def test_points(pointed: Model) -> None:
    one = pointed.sample("red", points={"beak": (0.2, 0.3), "tail": (0.9, 0.5)})[0]
    assert not same(one, pointed.sample("red", points={"beak": (0.8, 0.3), "tail": (0.1, 0.5)})[0])
    assert not same(one, pointed.sample("red", points={"tail": (0.2, 0.3), "beak": (0.9, 0.5)})[0])
    place = pointed.place(None, {"beak": (0.2, 0.3)})
    assert place[1].tolist() == pytest.approx([0.2, 0.3, 1])
    assert place.sum().item() == pytest.approx(1.5)


def test_interpolation_ends_at_the_sentences(boxed: Model) -> None:
    frames = boxed.interpolate("a red bird", "a blue bird", 3, seed=2, box=(0, 0, 0.5, 1))
    assert same(frames[0], boxed.sample("a red bird", seed=2, box=(0, 0, 0.5, 1))[0])
    assert same(frames[-1], boxed.sample("a blue bird", seed=2, box=(0, 0, 0.5, 1))[0])
    assert not same(frames[0], frames[1])


def test_match(boxed: Model) -> None:
    assert boxed.match(boxed.sample("red", 2), ["red", "blue", "grey"]).shape == (2, 3)


def test_mistakes(boxed: Model, pointed: Model) -> None:
    with pytest.raises(PinxitError, match=r"^box is 0\.5, 0, 0\.6, 1 \(x, y, width, height\), expected within 0\.\.1"):
        boxed.sample("red", box=(0.5, 0, 0.6, 1))
    with pytest.raises(PinxitError, match=r"^box is nan"):
        boxed.sample("red", box=(float("nan"), 0, 0.6, 1))
    with pytest.raises(PinxitError, match=r"^points is given, expected a box"):
        boxed.sample("red", points={"beak": (0.5, 0.5)})
    with pytest.raises(PinxitError, match=r"^the place is missing, expected points"):
        pointed.sample("red")
    with pytest.raises(PinxitError, match=r"^the place is a box, expected points"):
        pointed.sample("red", box=MIDDLE)
    with pytest.raises(PinxitError, match=r"^point is 'beek', expected one of back, beak.*did you mean 'beak'"):
        pointed.sample("red", points={"beek": (0.5, 0.5)})
    with pytest.raises(PinxitError, match=r"^point 'beak' is 1\.5, 0\.5"):
        pointed.sample("red", points={"beak": (1.5, 0.5)})
    with pytest.raises(PinxitError):
        boxed.sample("")
