"""The model: both directions from one file, any size and kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import pinxit
from pinxit.data.kinds import Kind
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.cyclegan.config import Network, Training
from pinxit.models.cyclegan.generate import load
from pinxit.models.cyclegan.recipe import CycleGANRecipe

NETWORK = Network(blocks=1, width=3, a=Kind(), b=Kind(2, "uint16", 0, 65535), test_norm="picture", size=(32, 32))


def file(network: Network = NETWORK) -> ModelFile:
    torch.manual_seed(0)
    return CycleGANRecipe(network, Training(identity=0, init="none")).model_file()


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (8, 8), (31, 66)])
def test_both_directions_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    file().save(tmp_path)
    there = pinxit.load(tmp_path)
    back = there.towards("BtoA")
    assert (there.direction, back.direction) == ("AtoB", "BtoA")
    assert there.towards("AtoB") is there
    there_and_back = back.translate(there.translate(picture(*size)))
    assert there_and_back.shape == (*size, 3)
    assert there_and_back.dtype == np.uint8
    assert there.multiple == back.multiple == 4
    assert len(there.norms()) == 7


def test_statistics_and_dropout_are_choices() -> None:
    made = file(dataclasses.replace(NETWORK, norm="batch", dropout=True))
    array = picture(16, 16)
    plain, running, noisy = load(made), load(made, norm="running"), load(made, dropout=True)
    assert not np.array_equal(plain.translate(array), running.translate(array))
    assert np.array_equal(plain.translate(array, seed=1), plain.translate(array, seed=2))
    assert not np.array_equal(noisy.translate(array, seed=1), noisy.translate(array, seed=2))
    assert running.norms() == []
    # The other direction has the same choices.
    assert running.towards("BtoA").norms() == []


def test_a_model_of_one_direction_has_that() -> None:
    made = file()
    one = {name: value for name, value in made.tensors.items() if name.startswith("BtoA.")}
    model = load(dataclasses.replace(made, tensors=one, config={**made.config, "directions": ["BtoA"]}))
    assert (model.direction, model.input) == ("BtoA", NETWORK.b)
    with pytest.raises(PinxitError, match=r"^direction is AtoB, expected BtoA, which is all the model has; choose it"):
        model.towards("AtoB")
