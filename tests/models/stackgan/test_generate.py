"""Sentences to pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.models.stackgan.config import PRESETS
from pinxit.models.stackgan.generate import Model, load
from pinxit.models.stackgan.recipe import StackGANRecipe
from pinxit.nn.norm import BatchNorm2d
from pinxit.text.training import Texts

TINY = PRESETS["tiny"]


def recipe_of(stages: int) -> StackGANRecipe:
    torch.manual_seed(0)
    recipe = StackGANRecipe(TINY.network, TINY.training, Texts("built-in", TINY.network.text_dim))
    recipe.G1_ema, recipe.G2_ema, recipe.reached = None, None, stages
    # Fresh weights, and statistics that nothing was seen for, give pictures of one grey, which would agree however they
    # were made.
    with torch.no_grad():
        for part in (recipe.G1, recipe.G2):
            part.ca.fc.weight.mul_(50)
            part.image.weight.mul_(10)
            for norm in part.modules():
                if isinstance(norm, BatchNorm2d):
                    norm.momentum = 1.0
        text = torch.randn(16, TINY.network.text_dim)
        rough, _ = recipe.G1(text, torch.randn(16, 4), torch.randn(16, 4))
        recipe.G2(rough, text, torch.randn(16, 4))
    return recipe


def model_of(stages: int) -> Model:
    return load(recipe_of(stages).model_file(), "cpu")


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(2)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_a_picture_is_of_its_sentence_and_seed_alone(model: Model) -> None:
    three = model.sample("a red wall", n=3, seed=7)
    assert [picture.size for picture in three] == [(128, 128)] * 3
    assert np.abs(pixels(three[0]) - pixels(three[1])).max() > 8
    for i in range(3):
        # Convolutions of another batch size round otherwise.
        assert np.abs(pixels(model.sample("a red wall", seed=7 + i)[0]) - pixels(three[i])).max() <= 1
    assert np.abs(pixels(model.sample("a blue wall", seed=7)[0]) - pixels(three[0])).max() > 0
    many = model.sample("a red wall", n=11, seed=7)
    assert np.abs(pixels(many[2]) - pixels(three[2])).max() <= 1


def test_stages(model: Model) -> None:
    ((rough, fine),) = model.stages("a red wall", seed=7)
    assert (rough.size, fine.size) == ((64, 64), (128, 128))
    assert pixels(rough).tolist() == pixels(model.sample("a red wall", seed=7, stage=1)[0]).tolist()
    assert pixels(fine).tolist() == pixels(model.sample("a red wall", seed=7)[0]).tolist()
    one = model_of(1)
    assert one.sample("a red wall")[0].size == (64, 64)
    with pytest.raises(PinxitError, match=r"^stage is 2, expected 1"):
        one.sample("a red wall", stage=2)
    with pytest.raises(PinxitError, match=r"^the model is of Stage-I alone"):
        one.stages("a red wall")


def test_interpolation_goes_from_one_sentence_to_the_other(model: Model) -> None:
    way = model.interpolate("a red wall", "a large blue house", steps=5, seed=3)
    assert len(way) == 5
    for sentence, end in (("a red wall", way[0]), ("a large blue house", way[-1])):
        assert np.abs(pixels(model.sample(sentence, seed=3)[0]) - pixels(end)).max() <= 1
    assert np.abs(pixels(way[0]) - pixels(way[-1])).max() > 0


def test_matching(model: Model) -> None:
    pictures = [*model.sample("a red wall", n=2), Image.new("RGB", (50, 90), "green")]
    cosines = model.match(pictures, ["a red wall", "a blue wall"])
    assert cosines.shape == (3, 2)
    assert cosines.abs().max() <= 1 + 1e-5
    again = model.match(pictures[2:], ["a blue wall"])
    torch.testing.assert_close(again[0, 0], cosines[2, 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("sentence", ["x" * 10_000, "a dog 🐶", "赤い鳥が枝に止まっている", "word " * 2000])
def test_sentences_of_any_kind_have_a_picture(sentence: str, model: Model) -> None:
    assert model.embed([sentence]).isfinite().all()
    assert len(model.sample(sentence)) == 1


@pytest.mark.parametrize("sentence", ["", " \n "])
def test_an_empty_sentence_is_told(sentence: str, model: Model) -> None:
    with pytest.raises(PinxitError, match=r"empty"):
        model.sample(sentence)


def test_bad_input(model: Model, tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^n is 0"):
        model.sample("a wall", n=0)
    with pytest.raises(PinxitError, match=r"^seed is -1"):
        model.sample("a wall", seed=-1)
    with pytest.raises(PinxitError, match=r"^steps is 1"):
        model.interpolate("a", "b", steps=1)
    with pytest.raises(PinxitError, match=r"^--text-encoder is 'clip:x', expected none"):
        load(model.file, "cpu", "clip:x")
    for config, message in (({"stages": 3}, "^stages in the model is 3"), ({"spin": 1}, "with 'spin'")):
        broken = dataclasses.replace(model.file, config={**model.file.config, **config})
        with pytest.raises(PinxitError, match=message):
            load(broken, "cpu")
    lacking = {name: value for name, value in model.file.tensors.items() if not name.startswith("G2.image")}
    with pytest.raises(PinxitError, match=r"^the model's G2 is not as its configuration"):
        load(dataclasses.replace(model.file, tensors=lacking), "cpu")


def test_weights_in_half_precision_give_the_same_pictures() -> None:
    recipe = recipe_of(2)
    whole = load(recipe.model_file(), "cpu").sample("a red wall")[0]
    recipe.training_options = dataclasses.replace(TINY.training, store="float16")
    file = recipe.model_file()
    assert file.tensors["G2.image.weight"].dtype == torch.float16
    assert np.abs(pixels(load(file, "cpu").sample("a red wall")[0]) - pixels(whole)).mean() < 1
