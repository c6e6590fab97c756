"""The verbs of PoE-GAN: any subset of inputs, encoded once; what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from pinxit.data.labels import numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.poegan.config import MODALITIES, PRESETS
from pinxit.models.poegan.generate import Canvas, Model, load
from pinxit.models.poegan.recipe import PoEGANRecipe
from pinxit.text.training import Texts

NETWORK = dataclasses.replace(PRESETS["tiny"].network, labels=3, inputs=MODALITIES)


def file_of(inputs: tuple[str, ...] = MODALITIES) -> ModelFile:
    """A tiny model with random weights."""
    torch.manual_seed(0)
    texts = Texts(width=NETWORK.text_width) if "text" in inputs else None
    network = dataclasses.replace(NETWORK, inputs=inputs)
    recipe = PoEGANRecipe(network, PRESETS["tiny"].training, numbered(3) if "map" in inputs else None, texts)
    return recipe.model_file()


@pytest.fixture(scope="module")
def model() -> Model:
    return load(file_of())


def label_map(height: int = 24, width: int = 24) -> np.ndarray:
    ids = np.zeros((height, width), np.int64)
    ids[height // 2 :] = 1
    ids[:, : width // 3] = 2
    return ids


def sketch(height: int = 24, width: int = 24) -> Image.Image:
    page = Image.new("L", (width, height), 255)
    ImageDraw.Draw(page).line((2, 2, width - 3, height - 3), fill=0, width=2)
    return page


INPUTS = {"map": label_map(), "sketch": sketch(), "text": "a red pear", "style": Image.new("RGB", (40, 30), "red")}


def arrays(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures]).astype(int)


def apart(a: list[Image.Image], b: list[Image.Image]) -> float:
    return float(abs(arrays(a) - arrays(b)).mean())


def test_all_sixteen_subsets(model: Model) -> None:
    assert len(model.subsets) == 16
    assert model.subsets[0] == ()
    assert model.size == (32, 32)
    found = []
    for subset in model.subsets:
        pictures = model.paint(**{name: INPUTS[name] for name in subset}, n=2, seed=5)  # pyright: ignore[reportArgumentType]
        assert [picture.size for picture in pictures] == [(32, 32)] * 2
        found.append(pictures)
    assert all(apart(a, b) > 0.1 for i, a in enumerate(found) for b in found[:i])


def test_a_picture_hangs_on_its_seed_alone(model: Model) -> None:
    canvas = model.canvas(**INPUTS)  # pyright: ignore[reportArgumentType]
    many = model.paint_on(canvas, n=11, seed=3)
    assert all(apart(a, b) > 0 for a, b in pairwise([[picture] for picture in many]))
    for place in (0, 7, 8, 10):
        # Convolutions of other batch sizes round otherwise.
        alone = model.paint_on(canvas, seed=3 + place)
        assert abs(arrays(alone) - arrays(many[place : place + 1])).max() <= 1


def test_it_is_what_the_network_makes_of_it(model: Model) -> None:
    fresh = load(file_of())
    canvas = fresh.canvas(**INPUTS)  # pyright: ignore[reportArgumentType]
    noise = [torch.stack([part] * 2) for part in fresh.noise(4)]
    two = [canvas.inputs[name].repeat_interleave(2, 0) for name in MODALITIES]
    with torch.no_grad():
        whole = fresh.G(noise, *two, torch.ones(2, 4, dtype=torch.bool))
    painted = arrays(model.paint(**INPUTS, seed=4))  # pyright: ignore[reportArgumentType]
    as_network = ((whole[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert abs(painted[0] - as_network).max() < 1.01
    assert torch.equal(canvas.inputs["map"].unique(), torch.arange(3))
    assert canvas.inputs["sketch"].max() > 0.5 > 0.01 > canvas.inputs["sketch"].mean() - 0.2


def test_each_input_is_encoded_once(model: Model, counted: dict[str, int]) -> None:
    canvas = model.canvas(**INPUTS)  # pyright: ignore[reportArgumentType]
    model.paint_on(canvas, n=20)
    model.paint_on(canvas.only("map", "text"), seed=2)
    model.paint_on(model.canvas(map=INPUTS["map"]).with_(canvas.only("sketch", "style")))  # pyright: ignore[reportArgumentType]
    assert counted == {"map": 2, "sketch": 1, "style": 1}


@pytest.fixture
def counted(model: Model) -> dict[str, int]:
    """How often each encoder has computed."""
    counts: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def seen(*_: object) -> None:
            counts[name] = counts.get(name, 0) + 1

        return seen

    for name, encoder in model.G.encoders.items():
        inner = encoder.encoder
        assert isinstance(inner, nn.Module)
        inner.register_forward_hook(count(name))
    return counts


@pytest.mark.parametrize("name", MODALITIES)
def test_interpolation_in_each_input(model: Model, name: str) -> None:
    other = {
        "map": label_map()[::-1].copy(),
        "sketch": sketch().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "text": "two blue chairs",
        "style": Image.new("RGB", (30, 30), "blue"),
    }
    first = model.canvas(**INPUTS)  # pyright: ignore[reportArgumentType]
    last = first.with_(model.canvas(**{name: other[name]}))  # pyright: ignore[reportArgumentType]
    frames = model.interpolate(first, last, 5, seed=1)
    assert len(frames) == 5
    assert apart(frames[:1], model.paint_on(first, seed=1)) < 0.01
    assert apart(frames[-1:], model.paint_on(last, seed=1)) < 0.01
    ends = apart(frames[:1], frames[-1:])
    assert ends > 0.1
    assert all(apart([a], [b]) < 0.8 * ends for a, b in pairwise(frames))


def test_inputs_as_the_model_sees_them(model: Model) -> None:
    canvas = model.canvas(**INPUTS)  # pyright: ignore[reportArgumentType]
    found = {name: np.asarray(model.seen(canvas, name)) for name in ("map", "sketch", "style")}
    assert {x.shape for x in found.values()} == {(32, 32, 3)}
    assert model.label_set is not None
    assert (found["map"][-1, -1] == model.label_set.palette[1]).all()
    assert found["sketch"][16, 16].max() < 128 < found["sketch"][2, 28].min()
    assert (found["style"] == (255, 0, 0)).all()


def test_interpolation_of_the_noise(model: Model) -> None:
    nothing = Canvas()
    frames = model.interpolate(nothing, nothing, 4, seed=1, last_seed=2)
    assert apart(frames[:1], model.paint(seed=1)) < 0.01
    assert apart(frames[-1:], model.paint(seed=2)) < 0.01
    with pytest.raises(PinxitError, match="the last canvas is one of text, expected one of nothing"):
        model.interpolate(nothing, model.canvas(text="x"), 4)
    with pytest.raises(PinxitError, match="steps is 1"):
        model.interpolate(nothing, nothing, 1)


def test_matching_networks_judge_pictures(model: Model) -> None:
    found = model.match(model.paint(n=3), ["a pear", "a plum"])
    assert found.shape == (3, 2)
    assert found.abs().max() <= 1.001


def test_what_it_was_not_trained_with() -> None:
    few = load(file_of(("map", "style")))
    assert few.subsets == ((), ("map",), ("style",), ("map", "style"))
    few.paint(map=label_map())
    with pytest.raises(PinxitError, match="what to paint by is a text, expected map and style, or some of it"):
        few.paint(text="a pear")
    with pytest.raises(PinxitError, match="is a sketch"):
        few.canvas(sketch=sketch())
    none = load(file_of(("sketch",)))
    assert none.label_set is None
    with pytest.raises(PinxitError, match="is a map, expected sketch"):
        none.paint(map=label_map())


def test_bad_input(model: Model) -> None:
    with pytest.raises(PinxitError, match=r"size of the sketch is 24x20, expected 24x24 \(width x height\)"):
        model.paint(map=label_map(), sketch=sketch(20, 24))
    with pytest.raises(PinxitError, match=r"label map is with index 7, expected 0\.\.2"):
        model.paint(map=label_map() + 5)
    with pytest.raises(PinxitError, match="label map is with unknown pixels"):
        model.paint(map=label_map() + 1)
    with pytest.raises(PinxitError, match="label map is float64"):
        model.paint(map=label_map() * 1.0)
    with pytest.raises(PinxitError, match="sketch is blank"):
        model.paint(sketch=Image.new("L", (24, 24), 255))
    with pytest.raises(PinxitError, match="empty"):
        model.paint(text="  ")
    with pytest.raises(PinxitError, match="n is 0"):
        model.paint(n=0)
    with pytest.raises(PinxitError, match="seed is -1"):
        model.paint(seed=-1)
    with pytest.raises(PinxitError, match="an input of the canvas is 'map', expected some of text"):
        model.canvas(text="x").only("map")


def test_a_squeezed_map_is_told(model: Model) -> None:
    with pytest.warns(UserWarning, match="what is 48x24 is squeezed"):
        model.paint(map=label_map(24, 48))


def test_texts_want_their_encoder_and_nothing_else_does(tmp_path) -> None:
    file = file_of()
    config = {**file.config, "text_encoder": f"sentence:{tmp_path / 'nowhere'}"}
    state = {name: x for name, x in file.tensors.items() if not name.startswith("texts.network")}
    away = load(dataclasses.replace(file, config=config, tensors=state))
    away.paint(map=label_map())
    with pytest.raises(PinxitError) as told:
        away.paint(text="a pear")
    assert "\n" not in str(told.value)


def test_it_survives_the_disk(model: Model, tmp_path) -> None:
    file_of().save(tmp_path)
    again = load(read(tmp_path))
    assert apart(again.paint(**INPUTS), model.paint(**INPUTS)) == 0  # pyright: ignore[reportArgumentType]
