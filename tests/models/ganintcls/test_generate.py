from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.models.ganintcls.config import PRESETS
from pinxit.models.ganintcls.generate import Model, load
from pinxit.models.ganintcls.recipe import GANINTCLSRecipe
from pinxit.text.training import Texts

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    recipe = GANINTCLSRecipe(TINY.network, TINY.training, Texts("built-in", TINY.network.text_dim))
    for p in recipe.G.parameters():  # weights that begin small make pictures that are nearly all alike
        p.data.mul_(3)
    return load(recipe.model_file())


def same(a: Image.Image, b: Image.Image) -> bool:
    """But for rounding, which differs with the number of pictures made together."""
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


def test_pictures_are_functions_of_sentence_and_seed(model: Model) -> None:
    first = model.sample("a red bird", n=3, seed=5)
    assert [picture.size for picture in first] == [(64, 64)] * 3
    assert same(first[1], model.sample("a red bird", seed=6)[0])
    assert not same(first[0], first[1])
    assert not same(first[0], model.sample("a blue bird", seed=5)[0])
    assert same(first[0], model.sample("  a  red bird ", seed=5)[0])


def test_a_picture_does_not_depend_on_what_is_made_with_it(model: Model) -> None:
    assert all(same(a, b) for a, b in zip(model.sample("red", 20), model.sample("red", 18), strict=False))


def test_interpolation_ends_at_the_sentences(model: Model) -> None:
    frames = model.interpolate("a red bird", "a blue bird", 4, seed=2)
    assert len(frames) == 4
    assert same(frames[0], model.sample("a red bird", seed=2)[0])
    assert same(frames[-1], model.sample("a blue bird", seed=2)[0])
    assert not same(frames[0], frames[1])


def test_match(model: Model) -> None:
    cosines = model.match([*model.sample("red", 2), Image.new("L", (90, 50))], ["red", "blue"])
    assert cosines.shape == (3, 2)
    assert cosines.abs().max() <= 1


@pytest.mark.parametrize("sentence", ["🦜" * 50, "赤い鳥が枝にとまっている", "a bird " * 2000, "!?"])
def test_any_sentence_has_a_picture(model: Model, sentence: str) -> None:
    assert len(model.sample(sentence)) == 1


def test_mistakes(model: Model) -> None:
    with pytest.raises(PinxitError):
        model.sample("  ")
    with pytest.raises(PinxitError, match=r"^n is 0, expected 1 or more"):
        model.sample("red", 0)
    with pytest.raises(PinxitError, match=r"^seed is -1"):
        model.sample("red", seed=-1)
    with pytest.raises(PinxitError, match=r"^steps is 1"):
        model.interpolate("red", "blue", 1)
    file = model.file
    lacking = {name: x for name, x in file.tensors.items() if name != "G.text.linear.weight"}
    with pytest.raises(PinxitError, match="the model's G"):
        load(dataclasses.replace(file, tensors=lacking))
    with pytest.raises(PinxitError, match="options of this version"):
        load(dataclasses.replace(file, config={**file.config, "new": 1}))
